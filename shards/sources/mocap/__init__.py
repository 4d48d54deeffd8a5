"""What motion capture writes: bodies in space, by markers or by a tree of joints."""
