"""From what is stored of a dataset's exposures to their scores and verdicts, in four folders in the order of the data.

- `histograms`: histograms of orientations are compared with a reference; KL divergences, significance and ranks
  (METHOD.md 5 and 5b).
- `judged`: the statistics that a verdict is made of, brought into the form in which they are compared (METHOD.md 9.7
  and 12).
- `evidence`: what is normal for the dataset (the null), and how unlikely each exposure and CCD is by chance (METHOD.md
  13).
- `verdict`: the thresholds of the evidence, the verdicts that follow, and their causes in words (METHOD.md 13).
"""
