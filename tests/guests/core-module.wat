;; What `cargo build` leaves when the last step, making a component of it, was forgotten.
(module
  (memory (export "memory") 1)
  (func (export "resolve")))
