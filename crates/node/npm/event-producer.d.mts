import * as events from './index.js';
export * from './index.js';
export default events;
