/* A file of packed weights (kernel/pack.h) beside the model: MODEL.gguf.packed, or model.packed in its folder. It is mapped and used in place, so that a
 * program begins at once, and programs share its memory.
 *
 * Little-endian: "MOEPACK\n"; u32 MOE_PACK_VERSION; u32 number of matrices; the model's fingerprint, 32 hex digits; u64 place of the data, a multiple of 2 MiB;
 * u64 bytes of data; u64 XXH3 of these 64 bytes and of the table. The table: for each matrix, in the order of moe_math_each over the whole model, 112 bytes:
 * its name, 64 bytes, padded with zeros; u32 type, u32 zero; u64 rows, u64 inputs, u64 place in the data, u64 bytes, u64 XXH3 of them. */
#ifndef MOE_MODEL_PACKFILE_H
#define MOE_MODEL_PACKFILE_H

#include "model/model.h"

struct moe_packfile;

/* The path of the model's file, to be freed; NULL without memory. */
char *moe_packfile_path(const struct moe_model *m);

/* Maps the model's file, if there is one and it is made of these weights by this version: m->packfile. If not, m->packfile_wrong says why. The table is checked, the
 * data are not (moe_packfile_verify). */
void moe_packfile_open(struct moe_model *m);
void moe_packfile_close(struct moe_packfile *p);

/* From now on every matrix of the model that has a packed form is read from the file. */
void moe_packfile_use(struct moe_model *m);

/* MOE_EINPUT, naming a matrix, when the data of the open file are not what was written. */
enum moe_err moe_packfile_verify(const struct moe_model *m, struct moe_diag *d) MOE_CHECK_RESULT;

/* Writes the file, in constant memory; replaces what is there when all is done. MOE_EUSAGE: no matrix has a packed form. `progress` may be NULL. */
enum moe_err moe_packfile_write(struct moe_model *m, struct moe_pool *pool, void (*progress)(void *arg, uint64_t done, uint64_t all), void *arg,
				struct moe_diag *d) MOE_CHECK_RESULT;

/* Matrices and bytes of the open file. */
size_t moe_packfile_count(const struct moe_packfile *p);
uint64_t moe_packfile_nbytes(const struct moe_packfile *p);

#endif
