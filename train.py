"""Train soft prompts: `python train.py task=cb seed=1`, or a sweep: `python train.py -m task=cb,rte seed=0,1`."""

from softprompt.commands import train

if __name__ == "__main__":
    train()
