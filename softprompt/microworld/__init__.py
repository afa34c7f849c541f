"""The microworld: a small artificial language, and the shipped model that was pretrained on it (`model/`).

`words.py` has its words and sentence patterns, `scenes.py` draws records from them. This package is the language alone
and imports nothing else of softprompt; `softprompt/pretraining` trains the model.

The default task and model come from here. They need no download, and the instructions that the model was taught are
known, so analyses of soft prompts can be scored against the truth (`model/truth.json`).
"""
