/*
 * Certificates: made when a test needs them, in a folder of their own: authorities,
 * certificates that they have signed, lists of what they have revoked. All files are
 * PEM: NAME.crt, NAME.key (mode 0600) and NAME.crl. What goes wrong ends the program.
 */
#ifndef T_LIB_CERTIFICATES_H
#define T_LIB_CERTIFICATES_H

#include <stdbool.h>
#include <stddef.h>

struct certificates {
	char *folder;
	char **paths; /* what certificates_file() has given */
	size_t npaths;
};

struct certificate {
	const char *name;
	const char *issuer;      /* name of the one that signs; NULL: itself, an authority */
	const char *common_name; /* NULL: none, an organization instead */
	size_t common_name_len;  /* 0: as long as the string */
	const char *key;         /* NULL: "EC"; or "RSA", "RSA-PSS", "ED25519" */
	const char *digest;      /* of its own signature if it signs itself; NULL: "SHA256" */
	const char *passphrase;  /* of the key's file; NULL: none */
	int days;                /* it ends in so many; 0: 30; negative: it has ended */
	bool server;             /* for localhost, 127.0.0.1 and ::1 */
};

void certificates_open(struct certificates *certificates);
/* Removes the folder. */
void certificates_close(struct certificates *certificates);

void certificates_make(const struct certificates *certificates, const struct certificate *wanted);
/* Writes AUTHORITY.crl; revoked: the name of the one certificate on it, NULL: none. */
void certificates_revoke(const struct certificates *certificates, const char *authority,
                         const char *revoked);
/*
 * What most tests want: the authority "ca" with ca.crl, "server" signed by it, "client" with
 * that common name, "revoked" and "expired" likewise; another authority "foreign" and a
 * "foreigner", with the common name as well.
 */
void certificates_make_usual(const struct certificates *certificates, const char *common_name);

/* The path of a file in the folder; good until certificates_close(). */
const char *certificates_file(struct certificates *certificates, const char *file);

#endif
