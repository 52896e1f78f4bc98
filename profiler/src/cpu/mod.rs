//! The CPU account: kernel symbols to layers, samples to layers and contexts.
