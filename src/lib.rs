//! imgkit signs, assembles and verifies immutable node images.
