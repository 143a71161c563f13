//! Behaviour of the parts that the public interface does not show.
