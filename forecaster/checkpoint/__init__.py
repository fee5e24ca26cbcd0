"""Checkpoints: the state of a partition at one input offset, as records of the compacted state topic.

No I/O, no clock. `Pipeline.snapshot` copies, `writer` cuts the copy into records, `reader` makes the newest whole
checkpoint of such records, `Pipeline.load` puts it back.

A record's key is `<group>/<partition>/<part>`. A checkpoint is a manifest (`m0` or `m1`), the records of a full copy
(`f0/<n>` or `f1/<n>`) and, where little has changed since that one, those of a delta over it (`d0/<n>` or `d1/<n>`):
all series that were touched since. Each comes in two generations, so what a whole checkpoint is made of is never
written over by the next one.
"""
