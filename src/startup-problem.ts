/** A problem that the operator can mend, in one sentence. */
export class StartupProblem extends Error {}
