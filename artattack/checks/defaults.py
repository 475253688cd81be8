"""What the checks take where nothing else is said, in Python and on the command line."""

EPS = "8/255"  # radius of the linf ball that attacks are held to
STEPS = 20  # iterations of PGD
LIMIT = 10  # images
FEWEST = 5  # images, below which not even a difference on all of them would be beyond chance in every check
CHECKS_FILE = "checks.csv"  # of a run, in its folder
TOLERANCE = 0.01  # of logits: what a float network gains or loses by sums in another order is far below
