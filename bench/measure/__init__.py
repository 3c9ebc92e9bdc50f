"""The measurements, one subject each: every module has a `measure` that returns a section."""
