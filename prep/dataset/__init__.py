"""From folders of images and masks to a data set directory (prep/DATASET.md)."""
