"""The packed launcher without processes: devices, the control folder, the table, and what is done about dead workers."""

import io
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from rich.console import Console

from hydra_plugins.hydra_packed_launcher import _control, _sweep
from hydra_plugins.hydra_packed_launcher._compose import SharedCompositions
from hydra_plugins.hydra_packed_launcher._control import Control, Plan, varying
from hydra_plugins.hydra_packed_launcher._devices import places, visible_gpus
from hydra_plugins.hydra_packed_launcher._sweep import Options, Sweep
from hydra_plugins.hydra_packed_launcher._table import Display, JobState, time_left
from hydra_plugins.hydra_packed_launcher._worker import Worker
from hydra_plugins.hydra_packed_launcher.config import PackedLauncherConf
from hydra_plugins.hydra_packed_launcher.launcher import PackedLauncher
from hydra_plugins.hydra_packed_launcher.runner import Job, Needs
from softprompt.sweep import SweepRunner
from tests.conftest import ROOT

GPU, CPU, ANY = Needs("a", gpu=True), Needs("a", gpu=False), Needs("a")


def environments(found: Sequence[Any]) -> list[str]:
    return [place.environment["CUDA_VISIBLE_DEVICES"] for place in found]


def test_each_worker_gets_a_gpu_of_its_own() -> None:
    assert environments(places([ANY] * 9, None, ["0", "1", "2", "3"], 16)) == ["0", "1", "2", "3"]
    assert environments(places([ANY] * 2, None, ["0", "1", "2", "3"], 16)) == ["0", "1"]  # no more than jobs
    uuids = ["GPU-8f2e", "GPU-11aa"]
    assert environments(places([GPU] * 9, None, uuids, 16)) == uuids
    assert environments(places([GPU] * 9, 4, uuids, 16)) == [*uuids, *uuids]  # asked for: two workers on each
    (first, *_) = places([GPU] * 9, None, uuids, 16, environment={})
    assert first.environment["OMP_NUM_THREADS"] == "8"


def test_jobs_on_several_gpus_get_groups() -> None:
    pair = Needs("a", devices=2, gpu=True)
    assert environments(places([pair] * 9, None, ["0", "1", "2", "3", "4"], 16)) == ["0,1", "2,3"]
    with pytest.raises(HydraException, match="a run needs 2 GPUs, and 1 are visible"):
        places([pair], None, ["0"], 16)
    with pytest.raises(HydraException, match="a run needs 1 GPUs, and 0 are visible"):
        places([GPU], None, [], 16)


def test_on_a_cpu_each_core_gets_a_worker_with_one_thread() -> None:
    def threads(*arguments: Any, **options: Any) -> list[str]:
        found = places(*arguments, **options, environment={})
        assert environments(found) == [""] * len(found)
        return [place.environment["OMP_NUM_THREADS"] for place in found]

    assert threads([ANY] * 9, None, [], 4) == ["1"] * 4
    assert threads([CPU] * 9, None, ["0", "1"], 4) == ["1"] * 4  # trainer=cpu on a machine with GPUs
    assert threads([CPU], None, [], 4) == ["4"]  # cores that are left over become threads
    assert threads([CPU] * 3, None, [], 8) == ["2"] * 3
    assert threads([Needs("a", threads=2)] * 9, None, [], 5) == ["2"] * 2
    assert threads([Needs("a", devices=2, gpu=False)] * 9, None, [], 4) == ["1"] * 2
    assert threads([CPU] * 9, 3, [], 1) == ["1"] * 3  # asked for
    large = [Needs("a", gpu=False, memory=3 * 10**9)] * 9
    assert threads(large, None, [], 8, memory=10**10) == ["4"] * 2  # 80% of 10 GB hold two of 3 GB
    assert threads(large, None, [], 8, memory=10**9) == ["8"]
    (place,) = places([CPU], None, [], 4, environment={"OMP_NUM_THREADS": "2"})
    assert place.environment["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(
    ("variable", "visible"),
    [
        (None, ["0", "1", "2"]),
        ("1,2", ["1", "2"]),
        ("GPU-8f2e", ["GPU-8f2e"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
    ],
)
def test_visible_gpus_are_those_that_cuda_sees(variable: str | None, visible: list[str]) -> None:
    environment = {} if variable is None else {"CUDA_VISIBLE_DEVICES": variable}
    assert visible_gpus(environment, lambda: ["0", "1", "2"]) == visible


def test_events_are_read_once_and_whole(tmp_path: Path) -> None:
    control = Control.new(tmp_path, local=True)
    control.report("a", 1, "training", {"step": 2})
    file = control.path / "events" / "a.jsonl"
    with file.open("a") as half:
        half.write('{"worker": "a", "job": 1, ')
    assert [(e["job"], e["state"], e["step"]) for e in control.new_events()] == [(1, "training", 2)]
    with file.open("a") as rest:
        rest.write('"state": "done"}\n{"worker": "a", "jo{"worker": "a", "job": 2}\n')  # killed in the middle
    assert [event["state"] for event in control.new_events()] == ["done"]
    assert list(control.new_events()) == []
    control.remove()
    assert not list(tmp_path.iterdir())


def test_folders_of_dead_launchers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Control.new(tmp_path, local=True)
    assert Control.new(tmp_path, local=True) and dead.path.exists()
    monkeypatch.setattr(_control, "is_running", lambda _: False)
    queued = Control.new(tmp_path, local=False)
    assert not dead.path.exists()
    (dead.path.parent / "broken").mkdir()
    (dead.path.parent / "broken" / "owner.json").write_text("{")
    Control.new(tmp_path, local=True)
    assert queued.path.exists()  # of Slurm: its workers may still run


def test_labels_are_what_differs() -> None:
    assert varying([["task=cb", "seed=0", "lr=1"], ["task=cb", "seed=1", "lr=1"]]) == ["seed=0", "seed=1"]
    assert varying([["task=cb", "seed=0"]]) == ["task=cb seed=0"]


def test_shared_compositions_are_what_hydra_composes() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader = hydra.config_loader
        master = loader.load_configuration("train", ["experiment=demo"], run_mode=RunMode.MULTIRUN)
        shared = SharedCompositions(loader)
        for overrides in (
            ["task=cb", "prompt=text", "seed=3", "experiment=demo"],
            ["seed=4", "task=cb", "prompt=text", "experiment=demo", "optim.lr=0.3"],
            ["task=rte", "prompt=random", "prompt.length=5", "optim=sgd"],
            ["task=rte", "+trainer.extra={profiler: simple}"],
            ["task=cb", "sweep=${task.name}-${seed}"],
        ):
            for _ in range(2):
                mine = shared.load_sweep_config(master, list(overrides))
                other = loader.load_sweep_config(master, list(overrides))
                assert OmegaConf.to_container(mine) == OmegaConf.to_container(other)
                with pytest.raises(HydraException, match=r"Could not override 'trainer\.epochs'"):
                    shared.load_sweep_config(master, ["trainer.epochs=3"])


def test_the_project_has_all_options_of_the_launcher() -> None:
    own = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/hydra/launcher/packed.yaml"))
    assert isinstance(own, dict)
    defaults = OmegaConf.to_container(OmegaConf.structured(PackedLauncherConf))
    assert isinstance(defaults, dict)
    for key in ("_target_", "runner", "defaults"):
        own.pop(key, None)
        defaults.pop(key, None)
    assert own == defaults


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "cloud"}, "cluster=cloud: should be local or slurm"),
        ({"workers": 0}, "workers=0: should be at least"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HydraException, match=message):
        PackedLauncher("softprompt.sweep.SweepRunner", **options)


def test_the_table_is_readable_with_a_thousand_runs() -> None:
    states = {number: JobState(f"task=cb seed={number}") for number in range(1024)}
    for number, state in states.items():
        state.state = "done" if number < 300 else "failed" if number < 302 else "waiting"
    for number in range(302, 366):
        states[number].state = "training"
        states[number].details = {
            "epoch": 3, "epochs": 8, "step": 48, "steps": 128, "loss": 0.51234, "exact_match": 0.875, "seconds": 62.0
        }  # fmt: skip
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True)
    display = Display(states, console)
    display.started -= 3600
    console.print(display.table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1024 runs: 300 done, 2 failed, 64 training, 658 waiting; 1:00:00, about 2:" in text
    assert "task=cb seed=302" in text and "87.5%" in text and "48/128" in text and "1:43" in text
    assert "and 44 more in training" in text and text.count("\n") <= 25


def test_the_time_that_is_left_counts_what_was_trained_now() -> None:
    done, before = JobState("a", "done"), JobState("b", "done", details={"before": True})
    half = JobState("c", "training", details={"step": 5, "steps": 10})
    waiting = JobState("d")
    assert time_left([done, before, half, waiting], 30.0) == pytest.approx(30.0)
    assert time_left([waiting, before], 30.0) is None


class FakeCluster:
    """Workers that do at once what a test says, and end."""

    poll = 0.0

    def __init__(self, scripts: Sequence[Any]) -> None:
        self.scripts = list(scripts)
        self.started: list[Worker] = []

    def start(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            self.started.append(worker)
            control = Control(worker.folder)
            if self.scripts.pop(0)(control, worker):
                control.report(worker.name, None, "ended", {})

    def is_alive(self, name: str) -> bool:
        return False

    def log(self, name: str) -> Path:
        return Path("/nowhere")

    def stop(self) -> list[str]:
        return []


def trains(*numbers: int, done: bool = True, killed: bool = False) -> Any:
    """A worker that has these jobs in training, and ends with them done, or is killed."""

    def script(control: Control, worker: Worker) -> bool:
        for number in numbers:
            control.report(worker.name, number, "training", {})
            if done:
                control.report(worker.name, number, "done", {"value": 0.5})
        return not killed

    return script


def event(state: str, **details: Any) -> Any:
    """A worker that says something about itself, and ends."""

    def script(control: Control, worker: Worker) -> bool:
        control.report(worker.name, None, state, details)
        return state != "broken"

    return script


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a sweep of four jobs with workers that follow scripts."""

    def run(*scripts: Any, **options: Any) -> tuple[Sweep, FakeCluster]:
        cluster = FakeCluster(scripts)
        monkeypatch.setattr(_sweep, "LocalCluster", lambda _: cluster)
        monkeypatch.setattr(SweepRunner, "needs", lambda self, job: Needs("one kind", gpu=False))
        jobs = [Job(number, [f"seed={number}"], {}) for number in range(4)]
        labels = [f"seed={job.number}" for job in jobs]
        made = Options(
            "softprompt.sweep.SweepRunner",
            "local",
            options.get("workers", 1),
            options.get("pack_size"),
            3,
            {},
        )
        sweep = Sweep(made, jobs, labels, tmp_path, [], lambda *_: None)
        sweep.run()
        return sweep, cluster

    return run


def states(sweep: Sweep) -> list[str]:
    return [state.state for state in sweep.states.values()]


def test_a_worker_that_is_killed_is_replaced_by_one_with_half_as_many_runs(run: Any) -> None:
    sweep, cluster = run(trains(0, 1, 2, 3, done=False, killed=True), trains(0, 1, 2, 3))
    assert states(sweep) == ["done"] * 4
    assert [worker.at_most for worker in cluster.started] == [4, 2]
    sweep, cluster = run(trains(0, 1, 2, 3, done=False, killed=True), trains(0, 1, 2, 3), pack_size=8)
    assert [worker.at_most for worker in cluster.started] == [8, 2]


def test_a_run_whose_worker_is_killed_again_and_again_fails_alone(run: Any) -> None:
    killed = trains(0, done=False, killed=True)
    sweep, _ = run(killed, trains(1), killed, killed, trains(2, 3), workers=2)
    assert states(sweep) == ["failed", "done", "done", "done"]
    assert "its worker ended 3 times: it was killed" in sweep.states[0].details["reason"]


def test_workers_that_die_before_they_train_end_the_sweep(run: Any) -> None:
    dies = trains(killed=True)
    sweep, cluster = run(dies, dies, dies)
    assert states(sweep) == ["failed"] * 4 and len(cluster.started) == 3
    assert sweep.states[0].details["reason"] == "worker-2: it was killed, perhaps for want of memory"
    broken = event("broken", reason="No module named 'torch'", traceback="Traceback ...")
    sweep, _ = run(broken, broken, broken)
    assert sweep.states[3].details == {
        "reason": "worker-2: No module named 'torch'",
        "traceback": "Traceback ...",
    }


def test_dead_workers_of_one_place_leave_the_others_alone(run: Any) -> None:
    dies = trains(killed=True)
    sweep, cluster = run(dies, trains(0, 1, 2, 3), dies, dies, workers=2)
    assert states(sweep) == ["done"] * 4 and len(cluster.started) <= 4


def test_a_gpu_that_is_full_at_the_start_leaves_the_work_to_the_others(run: Any) -> None:
    full = event("unusable", jobs=[0, 1, 2, 3], reason="model.id=m: out of memory", traceback="")
    sweep, _ = run(full, trains(0, 1, 2, 3), workers=2)
    assert states(sweep) == ["done"] * 4
    sweep, _ = run(full)
    assert states(sweep) == ["failed"] * 4
    assert sweep.states[0].details["reason"] == "model.id=m: out of memory"


def test_a_model_that_does_not_fit_fails_its_own_runs_only(run: Any) -> None:
    def script(control: Control, worker: Worker) -> bool:
        event("unusable", jobs=[0, 1], reason="model.id=large: out of memory", traceback="")(control, worker)
        return bool(trains(2, 3)(control, worker))

    sweep, _ = run(script)
    assert states(sweep) == ["failed", "failed", "done", "done"]


def test_runs_of_another_launcher_are_waited_for(run: Any) -> None:
    def first(control: Control, worker: Worker) -> bool:
        trains(0, 1)(control, worker)
        for number in (2, 3):
            control.report(worker.name, number, "in use", {"reason": "process 7 has it"})
        return True

    sweep, cluster = run(first, trains(2, 3))
    assert states(sweep) == ["done"] * 4 and [worker.stay for worker in cluster.started] == [False, True]
    sweep, _ = run(first, trains())  # it cannot return without them; if it does, this is no endless loop
    assert states(sweep) == ["done", "done", "failed", "failed"]


def test_a_job_with_a_wrong_config_fails_and_the_others_go_on(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, _ = run(trains(0, 1, 2, 3))
    assert states(sweep) == ["done"] * 4

    def needs(self: SweepRunner, job: Job) -> Needs:
        if job.number == 2:
            raise HydraException("optim.lr=0: should be greater than 0")
        return Needs("one kind", gpu=False)

    cluster = FakeCluster([trains(0, 1, 3)])
    monkeypatch.setattr(_sweep, "LocalCluster", lambda _: cluster)
    monkeypatch.setattr(SweepRunner, "needs", needs)
    again = Sweep(sweep.options, list(sweep.jobs.values()), list("abcd"), sweep.folder, [], lambda *_: None)
    again.run()
    assert states(again) == ["done", "done", "failed", "done"]


def test_a_worker_that_missed_the_signal_to_stop_ends_before_its_next_job(tmp_path: Path) -> None:
    control = Control.new(tmp_path, local=True)
    control.write_plan(
        Plan("softprompt.sweep.SweepRunner", [Job(0, ["seed=0"], {"wrong": 1})], [[0]], ["train.py"], 1)
    )
    worker = Worker(control.path, "worker-0", 0, None, 1, {}, None)
    control.stop()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            worker()
    finally:
        signal.signal(signal.SIGTERM, handler)  # the worker sets its own
    assert end.value.code == 143 and list(control.new_events()) == []
