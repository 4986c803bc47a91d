//! What a revision has done so far, in numbers.
