"""The GPU kit: what one hour on a GPU has to settle. Nothing of it has run on one yet.

`python -m bench.gpu core` needs torch, transformers and peft alone; `python -m bench.gpu` (`make gpu`) does all of it.
"""
