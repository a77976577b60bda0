import testing from './testing.js';

export const { TestPlatform } = testing;

export default testing;
