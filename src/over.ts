/** The port with some of its methods in other hands; the rest is called on the port itself. */
export function over<T extends object>(port: T, methods: Partial<T>): T {
  return new Proxy(port, {
    get: (_, name) => {
      const mine = Object.hasOwn(methods, name) ? Reflect.get(methods, name) : undefined;
      const value = mine ?? Reflect.get(port, name, port);
      return typeof value === 'function' && mine === undefined ? value.bind(port) : value;
    },
  });
}
