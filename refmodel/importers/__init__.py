"""Networks trained elsewhere: readers of other programs' files, which make a :class:`refmodel.network.Network`."""
