"""Pictures and videos: first frames, color, transcoding, each file opened in a sandboxed process of its own."""
