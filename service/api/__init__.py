"""Routes, one file a capability. A route only translates: HTTP in, a call of the engine, HTTP out."""
