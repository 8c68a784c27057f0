/* BLAKE-256 (14 rounds): of one message, or of many short ones of the same length side by side. */
#ifndef TWINLOCK_BLAKE256_H
#define TWINLOCK_BLAKE256_H

#include <stdint.h>
#include <string.h>

/* The same word of eight messages; the compiler makes of it what the processor has. */
#define BLAKE_LANES 8
#define BLAKE_ROOM 128
typedef uint32_t blake_lanes __attribute__((vector_size(4 * BLAKE_LANES)));

static inline uint32_t load_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void store_be32(uint8_t *p, uint32_t x) {
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

static const uint32_t BLAKE_START[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t BLAKE_C[16] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
                                     0x082efa98, 0xec4e6c89, 0x452821e6, 0x38d01377, 0xbe5466cf, 0x34e90c6c,
                                     0xc0ac29b7, 0xc97c50dd, 0x3f84d5b5, 0xb5470917};

#define BLAKE_TURN(x, n) ((x) >> (n) | (x) << (32 - (n)))

#define BLAKE_ROUND(R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, RA, RB, RC, RD, RE, RF) \
    G(0, 4, 8, 12, R0, R1)  \
    G(1, 5, 9, 13, R2, R3)  \
    G(2, 6, 10, 14, R4, R5) \
    G(3, 7, 11, 15, R6, R7) \
    G(0, 5, 10, 15, R8, R9) \
    G(1, 6, 11, 12, RA, RB) \
    G(2, 7, 8, 13, RC, RD)  \
    G(3, 4, 9, 14, RE, RF)

#define G(a, b, c, d, j, k)                    \
    v[a] += v[b] + (m[j] ^ BLAKE_C[k]);        \
    v[d] = BLAKE_TURN(v[d] ^ v[a], 16);        \
    v[c] += v[d];                              \
    v[b] = BLAKE_TURN(v[b] ^ v[c], 12);        \
    v[a] += v[b] + (m[k] ^ BLAKE_C[j]);        \
    v[d] = BLAKE_TURN(v[d] ^ v[a], 8);         \
    v[c] += v[d];                              \
    v[b] = BLAKE_TURN(v[b] ^ v[c], 7);

/* All rounds over state v and message m, be their words single ones or lanes. */
#define BLAKE_ROUNDS                                                  \
    BLAKE_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) \
    BLAKE_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3) \
    BLAKE_ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4) \
    BLAKE_ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8) \
    BLAKE_ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13) \
    BLAKE_ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9) \
    BLAKE_ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11) \
    BLAKE_ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10) \
    BLAKE_ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5) \
    BLAKE_ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0) \
    BLAKE_ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) \
    BLAKE_ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3) \
    BLAKE_ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4) \
    BLAKE_ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8)

static void blake256_block(uint32_t h[8], const uint8_t *block, uint64_t bits) {
    uint32_t m[16], v[16];
    for (int i = 0; i < 16; i++) m[i] = load_be32(block + 4 * i);
    memcpy(v, h, 32);
    memcpy(v + 8, BLAKE_C, 16);
    v[12] = (uint32_t)bits ^ BLAKE_C[4];
    v[13] = (uint32_t)bits ^ BLAKE_C[5];
    v[14] = (uint32_t)(bits >> 32) ^ BLAKE_C[6];
    v[15] = (uint32_t)(bits >> 32) ^ BLAKE_C[7];
    BLAKE_ROUNDS
    for (int i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

static inline void blake256_digest(const uint8_t *data, size_t size, uint8_t out[32]) {
    uint32_t h[8];
    uint8_t tail[128] = {0};
    memcpy(h, BLAKE_START, 32);
    const uint64_t bits = (uint64_t)size * 8;
    const size_t rest = size % 64, blocks = size / 64;
    for (size_t i = 0; i < blocks; i++) blake256_block(h, data + 64 * i, (uint64_t)(i + 1) * 512);
    const size_t end = rest <= 55 ? 64 : 128;
    if (rest) memcpy(tail, data + 64 * blocks, rest);
    tail[rest] |= 0x80;
    tail[end - 9] |= 0x01;
    store_be32(tail + end - 8, (uint32_t)(bits >> 32));
    store_be32(tail + end - 4, (uint32_t)bits);
    /* The counter is of message bits so far, and 0 in a block that holds only padding. */
    blake256_block(h, tail, rest ? bits : 0);
    if (end == 128) blake256_block(h, tail + 64, 0);
    for (int i = 0; i < 8; i++) store_be32(out + 4 * i, h[i]);
}

static void blake256_block_lanes(blake_lanes h[8], const uint8_t *blocks, uint32_t bits) {
    blake_lanes m[16], v[16];
    for (int i = 0; i < 16; i++)
        for (size_t lane = 0; lane < BLAKE_LANES; lane++) m[i][lane] = load_be32(blocks + BLAKE_ROOM * lane + 4 * i);
    for (int i = 0; i < 8; i++) v[i] = h[i];
    for (int i = 8; i < 16; i++) v[i] = (blake_lanes){0} + (BLAKE_C[i - 8] ^ (i == 12 || i == 13 ? bits : 0));
    BLAKE_ROUNDS
    for (int i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

/* The digests (32 bytes each) of eight messages of `size` bytes, 65 to 119, that stand one after the other in
 * BLAKE_ROOM bytes each, padded by blake256_pad. */
static inline void blake256_lanes(const uint8_t *padded, size_t size, uint8_t *out) {
    blake_lanes h[8];
    for (int i = 0; i < 8; i++) h[i] = (blake_lanes){0} + BLAKE_START[i];
    blake256_block_lanes(h, padded, 512);
    blake256_block_lanes(h, padded + 64, (uint32_t)size * 8);
    for (int lane = 0; lane < BLAKE_LANES; lane++)
        for (int i = 0; i < 8; i++) store_be32(out + 32 * lane + 4 * i, h[i][lane]);
}

/* What follows a message of 65 to 119 bytes in its room. */
static inline void blake256_pad(uint8_t *padded, size_t size) {
    memset(padded + size, 0, BLAKE_ROOM - size);
    padded[size] = 0x80;
    padded[119] |= 0x01;
    store_be32(padded + 124, (uint32_t)size * 8);
}

#endif
