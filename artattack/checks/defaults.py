"""Default settings of the checks, in Python and on the command line."""

EPS = "8/255"  # radius of the linf ball around each image
STEPS = 20  # iterations of PGD
LIMIT = 10  # images
FEWEST = 5  # minimum number of images: with fewer, some checks could not show even a difference on all of them
CHECKS_FILE = "checks.csv"  # file name of the checks in a run folder
TOLERANCE = 0.01  # for logits: far above the effect of another order of summation in a float network
