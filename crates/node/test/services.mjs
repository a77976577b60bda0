// Real Kafka and a real registry, as a child process that ends with its standard input.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export class Services {
  #child;
  #lines;
  #orders = Promise.resolve();

  static async start(...options) {
    const services = new Services();
    services.#child = spawn(process.env.CARBON_EVENTS_SERVICES, ['serve', ...options], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: services.#child.stdout });
    services.#lines = lines[Symbol.asyncIterator]();
    services.addresses = JSON.parse(await services.#line());
    return services;
  }

  async #line() {
    const { done, value } = await this.#lines.next();
    if (done) throw new Error('the services have ended');
    return value;
  }

  /** Sends a command: `services.order('kill 1')`. */
  order(words) {
    this.#orders = this.#orders.then(async () => {
      this.#child.stdin.write(`${words}\n`);
      const answer = await this.#line();
      if (answer !== 'ok') throw new Error(`${words}: ${answer}`);
    });
    return this.#orders;
  }

  async stop() {
    const ended = new Promise((resolve) => this.#child.on('exit', resolve));
    this.#child.stdin.end();
    await ended;
  }
}
