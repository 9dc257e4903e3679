;; A valid component that is nothing the host knows.
(component
  (core module $greeter
    (func (export "greet")))
  (core instance $instance (instantiate $greeter))
  (func (export "greet") (canon lift (core func $instance "greet"))))
