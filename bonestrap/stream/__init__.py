"""Recognition of a live stream: `Recogniser` in `bonestrap.stream.recogniser`, its settings in `config`."""
