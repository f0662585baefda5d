//! Column codecs: bytes in, bytes out, no I/O.
