"""Data that travels in the repository; read it with refmodel.datasets.load_data."""
