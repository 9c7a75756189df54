"""A small laboratory: corpora in memory, and trainings in one process.

A search of the recipes starts a dozen processes and reads audio again in each epoch.
Experiments over hundreds of architectures cannot afford that. Here features are
computed once, and a training is a plain PyTorch loop with the same model, optimizer and
batches for every encoder.
"""
