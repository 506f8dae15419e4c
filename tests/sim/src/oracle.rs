//! What is true of the history that clients saw.
