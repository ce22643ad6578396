"""The tests' short ResNet18; as a program, a script of the checkout run with it as a user does."""

import runpy
import sys

from jssm.networks import resnet

SHORT_18 = (1, 1)  # two of eight blocks: traced and compiled in a quarter of the time

if __name__ == "__main__":
    resnet.STAGES[18] = SHORT_18
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
