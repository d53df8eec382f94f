"""What `python train.py` can be asked for: a task a file, what they share in `task`, their options in `arguments`."""
