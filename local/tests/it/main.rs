//! Tests of the local cloud through the real SDKs.
