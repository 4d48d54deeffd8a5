"""Recognition of classes that no training has shown."""
