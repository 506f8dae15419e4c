//! A whole cluster in one thread and in virtual time: the machines of `entia-protocol` under every fault we can think of.
