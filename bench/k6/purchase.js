// Buyers of one sale, for k6 (https://k6.io). README.md says how to run it and what it prints.
// Without -e it is the published test: 300 buyers at once, each buying twice.
//
//   URL        http://127.0.0.1:8080: where doorbuster, or what stands before it, is
//   SALE       demo: the sale, which must exist
//   VUS, LOOPS 300, 2: attempts are VUS x LOOPS
//   RATE       attempts a second, due at their time whether earlier ones were answered or not;
//              with it DURATION (30s) takes the place of LOOPS, and VUS is how many may wait
//   BUYER      buyer: what the buyers' ids begin with; a second run on the same sale needs another
//   QUANTITY   1
//   KEYS       1: with an Idempotency-Key each
//
// Every attempt is a buyer of its own, and needs no token of an administrator.

import http from 'k6/http';
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';

const url = __ENV.URL || 'http://127.0.0.1:8080';
const sale = __ENV.SALE || 'demo';
const vus = Number(__ENV.VUS || 300);
const buyer = __ENV.BUYER || 'buyer';
const body = JSON.stringify({ quantity: Number(__ENV.QUANTITY || 1) });

// The refusals of the contract. Overload (503) is not among them: a load test should not hide it.
const codes = ['sold_out', 'limit_reached', 'not_started', 'paused', 'closed', 'rate_limited'];

// A yes waits for a disk and a no does not, so they are measured apart.
const accepted = new Counter('accepted');
const acceptedTime = new Trend('accepted_time', true);
const refused = Object.fromEntries(codes.map((code) => [code, new Counter(`refused_${code}`)]));
const refusedTime = new Trend('refused_time', true);
const unexpected = new Counter('unexpected');

// k6 would count every 4xx as a failed request.
http.setResponseCallback(http.expectedStatuses(202, 409, 410, 429));

const published = {
    executor: 'per-vu-iterations',
    vus,
    iterations: Number(__ENV.LOOPS || 2),
    maxDuration: '10m',
};
const rush = {
    executor: 'constant-arrival-rate',
    rate: Number(__ENV.RATE || 0),
    timeUnit: '1s',
    duration: __ENV.DURATION || '30s',
    preAllocatedVUs: vus,
};

export const options = {
    scenarios: { purchases: __ENV.RATE ? rush : published },
    // k6 ends with status 99 if there was an answer that nobody can explain.
    thresholds: { unexpected: ['count==0'] },
    summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

function parsed(response) {
    try {
        return response.json() || {};
    } catch (notJson) {
        return {};
    }
}

export default function () {
    const user = `${buyer}-${__VU}-${__ITER}`;
    const headers = { 'Content-Type': 'application/json', 'X-User-Id': user };
    if (__ENV.KEYS) {
        headers['Idempotency-Key'] = user;
    }
    const address = `${url}/v1/sales/${sale}/purchases`;
    const response = http.post(address, body, { headers, tags: { name: 'purchase' } });
    const answer = parsed(response);

    const yes = response.status === 202 && answer.status === 'queued' && answer.user_id === user;
    const no = codes.includes(answer.code) && answer.status === response.status;
    if (yes) {
        accepted.add(1);
        acceptedTime.add(response.timings.duration);
    } else if (no) {
        refused[answer.code].add(1);
        refusedTime.add(response.timings.duration);
    }
    // Added also when it is 0: a threshold on a metric without samples says nothing.
    unexpected.add(yes || no ? 0 : 1);
    check(response, { 'a yes or an expected no': () => yes || no });
}
