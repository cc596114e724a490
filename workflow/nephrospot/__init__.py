"""nephrospot: does a segmentation see the kidney tissue that the pathologist and the transcripts see?

The modules, in the order that data meets them: `sheet`, `slide`, `visium`, `registration`,
`scores` and `check` (what the user gave), `tissue`, `tiles`, `models`, `infer`, `stitch`,
`masks` (from slide to masks), `spots` (tissue under each spot), `deconvolve` (cells in each
spot), `correlate`, `table2`, `report`; and beside them `simulate` and `training`.
"""

__version__ = "0.1.0"
