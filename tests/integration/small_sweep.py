"""The settings of the reports that the tests of reports write, and tokens that a page must escape."""

from softprompt.settings import AnalysisSettings, Elicitation, Published, PublishedNorms

HOSTILE = "<script>document.title='owned'</script>"
CONTROL = "\x01\x1b[31m\x7f"
ANALYSIS = AnalysisSettings(
    sweep="-",
    parts=None,
    neighbours=2,
    alignment="resample",
    lexicon=["dog"],
    ablation_examples=3,
    pruning_examples=3,
    elicitation=Elicitation("Answer:", "Answer:"),
    wordings={"cb": ["a dog", "a cat"]},
    published=[Published("cb", "elsewhere", 43, 61)],
    published_norms=[PublishedNorms("cb", "elsewhere, table 1", 119.2, 1.31)],
)
