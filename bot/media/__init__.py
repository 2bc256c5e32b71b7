"""Pictures and videos: first frames, color, transcoding, charts. Sandboxed processes open untrusted files."""
