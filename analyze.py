"""Read what a sweep's prompts learned: `python analyze.py sweep=outputs/study`."""

from softprompt.commands import analyze

if __name__ == "__main__":
    analyze()
