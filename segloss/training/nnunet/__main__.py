"""Prints the folder in which nnU-Net finds `SegLossTrainer`, for `nnUNet_extTrainer`."""

from pathlib import Path

if __name__ == "__main__":
    print(Path(__file__).with_name("trainers"))
