"""Recognition in untrimmed recordings: what is recognised, when, and how it is scored."""
