"""Data sets in random styles, from a laptop to a cluster.

`stylizer` paints batches of pictures, the same ones whoever is asked; `formats` says what a data set in shards is, and
the modules beside it read and write those of other libraries; `work` does a shard. What spreads shards over processes
is beyond this room: `uwct.beam`, the command, or anybody's own loop. The rooms behind this one: those of the pipeline.
"""
