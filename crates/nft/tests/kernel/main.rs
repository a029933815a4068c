//! What the kernel and `nft` make of our bytes, and we of theirs. Each test runs in network namespaces of its own.

mod batches;
mod dump;
mod listing;
mod netns;
mod owner;
mod queries;
mod rules;
mod sets;
