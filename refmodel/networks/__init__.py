"""Trained networks that travel in the repository; read them with refmodel.bundled.load_network."""
