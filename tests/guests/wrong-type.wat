;; Claims to be a conflict resolver, but `resolve` takes nothing and returns nothing.
(component
  (core module $resolver
    (func (export "resolve")))
  (core instance $core (instantiate $resolver))
  (func $resolve (canon lift (core func $core "resolve")))
  (instance $interface
    (export "resolve" (func $resolve)))
  (export "vmcp:conflict/conflict-resolver@0.1.0" (instance $interface)))
