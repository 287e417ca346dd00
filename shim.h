/*
 * The C side of package gss: the GSS-API types, the table of functions that a
 * library is asked for, and one entry point per function.
 *
 * No system GSS-API header is included: the library is opened at run time and
 * may be any of MIT, Heimdal, GNU gss and GSS.framework. ci/checkheader proves
 * every type, constant and prototype of this file against the real headers.
 *
 * Entry points take (pointer, length) pairs and plain handles and give their
 * results back by value, so that no Go memory ever holds a C struct with a Go
 * pointer in it. gss_buffer_desc values live on the C stack. Every result that
 * a library may leave untouched is set before the call.
 */
#ifndef GSSGO_SHIM_H
#define GSSGO_SHIM_H

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/*
 * ---- types: RFC 2744, 3 and appendix A; extensions as MIT and Heimdal have them ----
 * GSS.framework has the same types, constants and prototypes (compared with the headers of Heimdal-710.0.1).
 */

#if defined(__APPLE__) && (defined(__ppc__) || defined(__ppc64__) || defined(__i386__) || defined(__x86_64__))
#pragma pack(push, 2) /* Apple's and MIT's headers pack these on the Intel Mac */
#define GSSGO_PACKED 1
#endif

typedef uint32_t OM_uint32;
typedef OM_uint32 gss_qop_t;
typedef int gss_cred_usage_t;
typedef struct gssgo_name_handle *gss_name_t;
typedef struct gssgo_cred_handle *gss_cred_id_t;
typedef struct gssgo_ctx_handle *gss_ctx_id_t;

typedef struct gss_OID_desc_struct {
    OM_uint32 length;
    void *elements;
} gss_OID_desc, *gss_OID;

typedef struct gss_OID_set_desc_struct {
    size_t count;
    gss_OID elements;
} gss_OID_set_desc, *gss_OID_set;

typedef struct gss_buffer_desc_struct {
    size_t length;
    void *value;
} gss_buffer_desc, *gss_buffer_t;

typedef struct gss_channel_bindings_struct {
    OM_uint32 initiator_addrtype;
    gss_buffer_desc initiator_address;
    OM_uint32 acceptor_addrtype;
    gss_buffer_desc acceptor_address;
    gss_buffer_desc application_data;
} *gss_channel_bindings_t;

typedef struct gss_buffer_set_desc_struct {
    size_t count;
    gss_buffer_desc *elements;
} gss_buffer_set_desc, *gss_buffer_set_t;

typedef struct gss_iov_buffer_desc_struct {
    OM_uint32 type;
    gss_buffer_desc buffer;
} gss_iov_buffer_desc, *gss_iov_buffer_t;

#ifdef GSSGO_PACKED
#pragma pack(pop)
#endif

/* In gssapi_ext.h, which MIT does not pack; Heimdal 7.8 and GSS.framework have no such types. */
typedef struct gss_key_value_element_struct {
    const char *key;
    const char *value;
} gss_key_value_element_desc;

typedef struct gss_key_value_set_struct {
    OM_uint32 count;
    gss_key_value_element_desc *elements;
} gss_key_value_set_desc;

/* Kerberos objects. They are of the libkrb5 that the GSS-API library uses. */
typedef struct gssgo_krb5_context_handle *krb5_context;
typedef struct gssgo_krb5_ccache_handle *krb5_ccache;
typedef struct gssgo_krb5_keytab_handle *krb5_keytab;
typedef struct gssgo_krb5_rcache_handle *krb5_rcache;
typedef struct gssgo_krb5_principal_handle *krb5_principal;
typedef int32_t krb5_error_code;
typedef int32_t krb5_enctype;

/* What gss_krb5_export_lucid_sec_context returns, version 1. */
typedef struct gss_krb5_lucid_key {
    OM_uint32 type;
    OM_uint32 length;
    void *data;
} gss_krb5_lucid_key_t;

typedef struct gss_krb5_rfc1964_keydata {
    OM_uint32 sign_alg;
    OM_uint32 seal_alg;
    gss_krb5_lucid_key_t ctx_key;
} gss_krb5_rfc1964_keydata_t;

typedef struct gss_krb5_cfx_keydata {
    OM_uint32 have_acceptor_subkey;
    gss_krb5_lucid_key_t ctx_key;
    gss_krb5_lucid_key_t acceptor_subkey;
} gss_krb5_cfx_keydata_t;

typedef struct gss_krb5_lucid_context_v1 {
    OM_uint32 version;
    OM_uint32 initiate;
    OM_uint32 endtime;
    uint64_t send_seq;
    uint64_t recv_seq;
    OM_uint32 protocol;
    gss_krb5_rfc1964_keydata_t rfc1964_kd;
    gss_krb5_cfx_keydata_t cfx_kd;
} gss_krb5_lucid_context_v1_t;

/* What gss_context_query_attributes returns; Heimdal only. */
typedef struct gss_context_stream_sizes {
    size_t header;
    size_t trailer;
    size_t max_msg_size;
    size_t buffers;
    size_t blocksize;
} gss_context_stream_sizes;

/* A key of Heimdal's libkrb5. */
typedef struct heim_octet_string {
    size_t length;
    void *data;
} heim_octet_string;

typedef struct EncryptionKey {
    int32_t keytype;
    heim_octet_string keyvalue;
} EncryptionKey;

/* What MIT and Heimdal have under one name and with two types. ci/checkheader puts in those of each. */
#define GSSGO_TIME void     /* krb5_timestamp, of 4 bytes; time_t */
#define GSSGO_TKTFLAGS void /* krb5_flags; OM_uint32 */
#define GSSGO_KEYBLOCK void /* MIT has no such function; struct EncryptionKey */

/* ---- the table: result, name, arguments ---- */

/* RFC 2744: a library that lacks one of these is not a GSS-API library. */
#define GSSGO_REQUIRED(F) \
    F(OM_uint32, gss_acquire_cred, (OM_uint32 *, gss_name_t, OM_uint32, gss_OID_set, gss_cred_usage_t, gss_cred_id_t *, gss_OID_set *, OM_uint32 *)) \
    F(OM_uint32, gss_release_cred, (OM_uint32 *, gss_cred_id_t *)) \
    F(OM_uint32, gss_init_sec_context, (OM_uint32 *, gss_cred_id_t, gss_ctx_id_t *, gss_name_t, gss_OID, OM_uint32, OM_uint32, gss_channel_bindings_t, gss_buffer_t, gss_OID *, gss_buffer_t, OM_uint32 *, OM_uint32 *)) \
    F(OM_uint32, gss_accept_sec_context, (OM_uint32 *, gss_ctx_id_t *, gss_cred_id_t, gss_buffer_t, gss_channel_bindings_t, gss_name_t *, gss_OID *, gss_buffer_t, OM_uint32 *, OM_uint32 *, gss_cred_id_t *)) \
    F(OM_uint32, gss_process_context_token, (OM_uint32 *, gss_ctx_id_t, gss_buffer_t)) \
    F(OM_uint32, gss_delete_sec_context, (OM_uint32 *, gss_ctx_id_t *, gss_buffer_t)) \
    F(OM_uint32, gss_context_time, (OM_uint32 *, gss_ctx_id_t, OM_uint32 *)) \
    F(OM_uint32, gss_get_mic, (OM_uint32 *, gss_ctx_id_t, gss_qop_t, gss_buffer_t, gss_buffer_t)) \
    F(OM_uint32, gss_verify_mic, (OM_uint32 *, gss_ctx_id_t, gss_buffer_t, gss_buffer_t, gss_qop_t *)) \
    F(OM_uint32, gss_wrap, (OM_uint32 *, gss_ctx_id_t, int, gss_qop_t, gss_buffer_t, int *, gss_buffer_t)) \
    F(OM_uint32, gss_unwrap, (OM_uint32 *, gss_ctx_id_t, gss_buffer_t, gss_buffer_t, int *, gss_qop_t *)) \
    F(OM_uint32, gss_display_status, (OM_uint32 *, OM_uint32, int, gss_OID, OM_uint32 *, gss_buffer_t)) \
    F(OM_uint32, gss_indicate_mechs, (OM_uint32 *, gss_OID_set *)) \
    F(OM_uint32, gss_compare_name, (OM_uint32 *, gss_name_t, gss_name_t, int *)) \
    F(OM_uint32, gss_display_name, (OM_uint32 *, gss_name_t, gss_buffer_t, gss_OID *)) \
    F(OM_uint32, gss_import_name, (OM_uint32 *, gss_buffer_t, gss_OID, gss_name_t *)) \
    F(OM_uint32, gss_export_name, (OM_uint32 *, gss_name_t, gss_buffer_t)) \
    F(OM_uint32, gss_release_name, (OM_uint32 *, gss_name_t *)) \
    F(OM_uint32, gss_release_buffer, (OM_uint32 *, gss_buffer_t)) \
    F(OM_uint32, gss_release_oid_set, (OM_uint32 *, gss_OID_set *)) \
    F(OM_uint32, gss_inquire_cred, (OM_uint32 *, gss_cred_id_t, gss_name_t *, OM_uint32 *, gss_cred_usage_t *, gss_OID_set *)) \
    F(OM_uint32, gss_inquire_context, (OM_uint32 *, gss_ctx_id_t, gss_name_t *, gss_name_t *, OM_uint32 *, gss_OID *, OM_uint32 *, int *, int *)) \
    F(OM_uint32, gss_wrap_size_limit, (OM_uint32 *, gss_ctx_id_t, int, gss_qop_t, OM_uint32, OM_uint32 *)) \
    F(OM_uint32, gss_add_cred, (OM_uint32 *, gss_cred_id_t, gss_name_t, gss_OID, gss_cred_usage_t, OM_uint32, OM_uint32, gss_cred_id_t *, gss_OID_set *, OM_uint32 *, OM_uint32 *)) \
    F(OM_uint32, gss_inquire_cred_by_mech, (OM_uint32 *, gss_cred_id_t, gss_OID, gss_name_t *, OM_uint32 *, OM_uint32 *, gss_cred_usage_t *)) \
    F(OM_uint32, gss_export_sec_context, (OM_uint32 *, gss_ctx_id_t *, gss_buffer_t)) \
    F(OM_uint32, gss_import_sec_context, (OM_uint32 *, gss_buffer_t, gss_ctx_id_t *)) \
    F(OM_uint32, gss_create_empty_oid_set, (OM_uint32 *, gss_OID_set *)) \
    F(OM_uint32, gss_add_oid_set_member, (OM_uint32 *, gss_OID, gss_OID_set *)) \
    F(OM_uint32, gss_test_oid_set_member, (OM_uint32 *, gss_OID, gss_OID_set, int *)) \
    F(OM_uint32, gss_inquire_names_for_mech, (OM_uint32 *, gss_OID, gss_OID_set *)) \
    F(OM_uint32, gss_inquire_mechs_for_name, (OM_uint32 *, gss_name_t, gss_OID_set *)) \
    F(OM_uint32, gss_canonicalize_name, (OM_uint32 *, gss_name_t, gss_OID, gss_name_t *)) \
    F(OM_uint32, gss_duplicate_name, (OM_uint32 *, gss_name_t, gss_name_t *))

/* What some libraries lack: the entry is NULL there, and the call answers GSS_S_UNAVAILABLE. */
#define GSSGO_OPTIONAL(F) \
    GSSGO_OPTIONAL_MECHS(F) GSSGO_OPTIONAL_NAMES(F) GSSGO_OPTIONAL_CREDS(F) GSSGO_OPTIONAL_CONTEXTS(F) GSSGO_OPTIONAL_MESSAGES(F) \
    GSSGO_OPTIONAL_KRB5(F) \
    F(void, gss_set_log_function, (void *, void (*)(void *, int, const char *, va_list))) \
    F(const char *, gss_check_version, (const char *))

/* Mechanisms, object identifiers, tokens: RFC 5587, RFC 5801, RFC 2743 3.1. */
#define GSSGO_OPTIONAL_MECHS(F) \
    F(OM_uint32, gss_indicate_mechs_by_attrs, (OM_uint32 *, gss_OID_set, gss_OID_set, gss_OID_set, gss_OID_set *)) \
    F(OM_uint32, gss_inquire_attrs_for_mech, (OM_uint32 *, gss_OID, gss_OID_set *, gss_OID_set *)) \
    F(OM_uint32, gss_display_mech_attr, (OM_uint32 *, gss_OID, gss_buffer_t, gss_buffer_t, gss_buffer_t)) \
    F(OM_uint32, gss_inquire_saslname_for_mech, (OM_uint32 *, gss_OID, gss_buffer_t, gss_buffer_t, gss_buffer_t)) \
    F(OM_uint32, gss_inquire_mech_for_saslname, (OM_uint32 *, gss_buffer_t, gss_OID *)) \
    F(OM_uint32, gss_encapsulate_token, (gss_buffer_t, gss_OID, gss_buffer_t)) \
    F(OM_uint32, gss_decapsulate_token, (gss_buffer_t, gss_OID, gss_buffer_t)) \
    F(OM_uint32, gss_str_to_oid, (OM_uint32 *, gss_buffer_t, gss_OID *)) \
    F(OM_uint32, gss_oid_to_str, (OM_uint32 *, gss_OID, gss_buffer_t)) \
    F(const char *, gss_oid_to_name, (gss_OID)) \
    F(gss_OID, gss_name_to_oid, (const char *)) \
    F(OM_uint32, gss_release_oid, (OM_uint32 *, gss_OID *)) \
    F(OM_uint32, gss_release_buffer_set, (OM_uint32 *, gss_buffer_set_t *)) \
    F(OM_uint32, gssspi_mech_invoke, (OM_uint32 *, gss_OID, gss_OID, gss_buffer_t)) \
    F(int, gss_mo_set, (gss_OID, gss_OID, int, gss_buffer_t)) \
    F(int, gss_mo_get, (gss_OID, gss_OID, gss_buffer_t)) \
    F(void, gss_mo_list, (gss_OID, gss_OID_set *)) \
    F(OM_uint32, gss_mo_name, (gss_OID, gss_OID, gss_buffer_t))

/* Names: RFC 6680, and what a host makes of them. */
#define GSSGO_OPTIONAL_NAMES(F) \
    F(OM_uint32, gss_display_name_ext, (OM_uint32 *, gss_name_t, gss_OID, gss_buffer_t)) \
    F(OM_uint32, gss_inquire_name, (OM_uint32 *, gss_name_t, int *, gss_OID *, gss_buffer_set_t *)) \
    F(OM_uint32, gss_get_name_attribute, (OM_uint32 *, gss_name_t, gss_buffer_t, int *, int *, gss_buffer_t, gss_buffer_t, int *)) \
    F(OM_uint32, gss_set_name_attribute, (OM_uint32 *, gss_name_t, int, gss_buffer_t, gss_buffer_t)) \
    F(OM_uint32, gss_delete_name_attribute, (OM_uint32 *, gss_name_t, gss_buffer_t)) \
    F(OM_uint32, gss_export_name_composite, (OM_uint32 *, gss_name_t, gss_buffer_t)) \
    F(OM_uint32, gss_localname, (OM_uint32 *, gss_name_t, gss_OID, gss_buffer_t)) \
    F(int, gss_userok, (gss_name_t, const char *)) \
    F(OM_uint32, gss_authorize_localname, (OM_uint32 *, gss_name_t, gss_name_t)) \
    F(OM_uint32, gss_pname_to_uid, (OM_uint32 *, gss_name_t, gss_OID, uid_t *))

/* Credentials: stores, passwords, RFC 5588, S4U, export, negotiation, options. */
#define GSSGO_OPTIONAL_CREDS(F) \
    F(OM_uint32, gss_acquire_cred_from, (OM_uint32 *, gss_name_t, OM_uint32, gss_OID_set, gss_cred_usage_t, gss_key_value_set_desc *, gss_cred_id_t *, gss_OID_set *, OM_uint32 *)) \
    F(OM_uint32, gss_add_cred_from, (OM_uint32 *, gss_cred_id_t, gss_name_t, gss_OID, gss_cred_usage_t, OM_uint32, OM_uint32, gss_key_value_set_desc *, gss_cred_id_t *, gss_OID_set *, OM_uint32 *, OM_uint32 *)) \
    F(OM_uint32, gss_acquire_cred_with_password, (OM_uint32 *, gss_name_t, gss_buffer_t, OM_uint32, gss_OID_set, gss_cred_usage_t, gss_cred_id_t *, gss_OID_set *, OM_uint32 *)) \
    F(OM_uint32, gss_add_cred_with_password, (OM_uint32 *, gss_cred_id_t, gss_name_t, gss_OID, gss_buffer_t, gss_cred_usage_t, OM_uint32, OM_uint32, gss_cred_id_t *, gss_OID_set *, OM_uint32 *, OM_uint32 *)) \
    F(OM_uint32, gss_acquire_cred_impersonate_name, (OM_uint32 *, gss_cred_id_t, gss_name_t, OM_uint32, gss_OID_set, gss_cred_usage_t, gss_cred_id_t *, gss_OID_set *, OM_uint32 *)) \
    F(OM_uint32, gss_add_cred_impersonate_name, (OM_uint32 *, gss_cred_id_t, gss_cred_id_t, gss_name_t, gss_OID, gss_cred_usage_t, OM_uint32, OM_uint32, gss_cred_id_t *, gss_OID_set *, OM_uint32 *, OM_uint32 *)) \
    F(OM_uint32, gss_store_cred, (OM_uint32 *, gss_cred_id_t, gss_cred_usage_t, gss_OID, OM_uint32, OM_uint32, gss_OID_set *, gss_cred_usage_t *)) \
    F(OM_uint32, gss_store_cred_into, (OM_uint32 *, gss_cred_id_t, gss_cred_usage_t, gss_OID, OM_uint32, OM_uint32, gss_key_value_set_desc *, gss_OID_set *, gss_cred_usage_t *)) \
    F(OM_uint32, gss_store_cred_into2, (OM_uint32 *, gss_cred_id_t, gss_cred_usage_t, gss_OID, OM_uint32, gss_key_value_set_desc *, gss_OID_set *, gss_cred_usage_t *, gss_buffer_set_t *)) \
    F(OM_uint32, gss_duplicate_cred, (OM_uint32 *, gss_cred_id_t, gss_cred_id_t *)) \
    F(OM_uint32, gss_destroy_cred, (OM_uint32 *, gss_cred_id_t *)) \
    F(OM_uint32, gss_export_cred, (OM_uint32 *, gss_cred_id_t, gss_buffer_t)) \
    F(OM_uint32, gss_import_cred, (OM_uint32 *, gss_buffer_t, gss_cred_id_t *)) \
    F(OM_uint32, gss_set_neg_mechs, (OM_uint32 *, gss_cred_id_t, gss_OID_set)) \
    F(OM_uint32, gss_get_neg_mechs, (OM_uint32 *, gss_cred_id_t, gss_OID_set *)) \
    F(OM_uint32, gss_inquire_cred_by_oid, (OM_uint32 *, gss_cred_id_t, gss_OID, gss_buffer_set_t *)) \
    F(OM_uint32, gss_set_cred_option, (OM_uint32 *, gss_cred_id_t *, gss_OID, gss_buffer_t))

/* Contexts: questions and options by object identifier, RFC 4401. */
#define GSSGO_OPTIONAL_CONTEXTS(F) \
    F(OM_uint32, gss_inquire_sec_context_by_oid, (OM_uint32 *, gss_ctx_id_t, gss_OID, gss_buffer_set_t *)) \
    F(OM_uint32, gss_set_sec_context_option, (OM_uint32 *, gss_ctx_id_t *, gss_OID, gss_buffer_t)) \
    F(OM_uint32, gss_context_query_attributes, (OM_uint32 *, gss_ctx_id_t, gss_OID, void *, size_t)) \
    F(OM_uint32, gss_complete_auth_token, (OM_uint32 *, gss_ctx_id_t, gss_buffer_t)) \
    F(OM_uint32, gss_pseudo_random, (OM_uint32 *, gss_ctx_id_t, int, gss_buffer_t, ssize_t, gss_buffer_t))

/* Messages in parts. */
#define GSSGO_OPTIONAL_MESSAGES(F) \
    F(OM_uint32, gss_wrap_iov, (OM_uint32 *, gss_ctx_id_t, int, gss_qop_t, int *, gss_iov_buffer_desc *, int)) \
    F(OM_uint32, gss_wrap_iov_length, (OM_uint32 *, gss_ctx_id_t, int, gss_qop_t, int *, gss_iov_buffer_desc *, int)) \
    F(OM_uint32, gss_unwrap_iov, (OM_uint32 *, gss_ctx_id_t, int *, gss_qop_t *, gss_iov_buffer_desc *, int)) \
    F(OM_uint32, gss_get_mic_iov, (OM_uint32 *, gss_ctx_id_t, gss_qop_t, gss_iov_buffer_desc *, int)) \
    F(OM_uint32, gss_get_mic_iov_length, (OM_uint32 *, gss_ctx_id_t, gss_qop_t, gss_iov_buffer_desc *, int)) \
    F(OM_uint32, gss_verify_mic_iov, (OM_uint32 *, gss_ctx_id_t, gss_qop_t *, gss_iov_buffer_desc *, int)) \
    F(OM_uint32, gss_release_iov_buffer, (OM_uint32 *, gss_iov_buffer_desc *, int)) \
    F(OM_uint32, gss_wrap_aead, (OM_uint32 *, gss_ctx_id_t, int, gss_qop_t, gss_buffer_t, gss_buffer_t, int *, gss_buffer_t)) \
    F(OM_uint32, gss_unwrap_aead, (OM_uint32 *, gss_ctx_id_t, gss_buffer_t, gss_buffer_t, gss_buffer_t, int *, gss_qop_t *))

/* Kerberos' own. */
#define GSSGO_OPTIONAL_KRB5(F) \
    F(OM_uint32, gss_krb5_ccache_name, (OM_uint32 *, const char *, const char **)) \
    F(OM_uint32, gss_krb5_copy_ccache, (OM_uint32 *, gss_cred_id_t, krb5_ccache)) \
    F(OM_uint32, gss_krb5_import_cred, (OM_uint32 *, krb5_ccache, krb5_principal, krb5_keytab, gss_cred_id_t *)) \
    F(OM_uint32, gss_krb5_set_allowable_enctypes, (OM_uint32 *, gss_cred_id_t, OM_uint32, krb5_enctype *)) \
    F(OM_uint32, gss_krb5_set_cred_rcache, (OM_uint32 *, gss_cred_id_t, krb5_rcache)) \
    F(OM_uint32, gss_krb5_get_tkt_flags, (OM_uint32 *, gss_ctx_id_t, GSSGO_TKTFLAGS *)) \
    F(OM_uint32, gss_krb5_export_lucid_sec_context, (OM_uint32 *, gss_ctx_id_t *, OM_uint32, void **)) \
    F(OM_uint32, gss_krb5_free_lucid_sec_context, (OM_uint32 *, void *)) \
    F(OM_uint32, gsskrb5_extract_authtime_from_sec_context, (OM_uint32 *, gss_ctx_id_t, GSSGO_TIME *)) \
    F(OM_uint32, gsskrb5_extract_authz_data_from_sec_context, (OM_uint32 *, gss_ctx_id_t, int, gss_buffer_t)) \
    F(OM_uint32, gsskrb5_extract_service_keyblock, (OM_uint32 *, gss_ctx_id_t, GSSGO_KEYBLOCK **)) \
    F(OM_uint32, gsskrb5_get_initiator_subkey, (OM_uint32 *, gss_ctx_id_t, GSSGO_KEYBLOCK **)) \
    F(OM_uint32, gsskrb5_get_subkey, (OM_uint32 *, gss_ctx_id_t, GSSGO_KEYBLOCK **)) \
    F(OM_uint32, gsskrb5_get_time_offset, (int *)) \
    F(OM_uint32, gsskrb5_set_time_offset, (int)) \
    F(OM_uint32, gsskrb5_set_default_realm, (const char *)) \
    F(OM_uint32, gsskrb5_set_dns_canonicalize, (int)) \
    F(OM_uint32, gsskrb5_register_acceptor_identity, (const char *)) \
    F(OM_uint32, krb5_gss_register_acceptor_identity, (const char *))

#define GSSGO_TABLE(F) GSSGO_REQUIRED(F) GSSGO_OPTIONAL(F)

/*
 * Functions of the libkrb5 that the open library uses: symbols of the library and
 * of what it depends on. Their types are the same in MIT and Heimdal.
 */
#define GSSGO_KRB5_TABLE(F) \
    F(krb5_error_code, krb5_init_context, (krb5_context *)) \
    F(void, krb5_free_context, (krb5_context)) \
    F(krb5_error_code, krb5_cc_default, (krb5_context, krb5_ccache *)) \
    F(krb5_error_code, krb5_cc_resolve, (krb5_context, const char *, krb5_ccache *)) \
    F(const char *, krb5_cc_get_type, (krb5_context, krb5_ccache)) \
    F(const char *, krb5_cc_get_name, (krb5_context, krb5_ccache)) \
    F(krb5_error_code, krb5_cc_new_unique, (krb5_context, const char *, const char *, krb5_ccache *)) \
    F(krb5_error_code, krb5_cc_initialize, (krb5_context, krb5_ccache, krb5_principal)) \
    F(krb5_error_code, krb5_cc_close, (krb5_context, krb5_ccache)) \
    F(krb5_error_code, krb5_cc_destroy, (krb5_context, krb5_ccache)) \
    F(krb5_error_code, krb5_kt_resolve, (krb5_context, const char *, krb5_keytab *)) \
    F(krb5_error_code, krb5_kt_close, (krb5_context, krb5_keytab)) \
    F(krb5_error_code, krb5_parse_name, (krb5_context, const char *, krb5_principal *)) \
    F(void, krb5_free_principal, (krb5_context, krb5_principal)) \
    F(const char *, krb5_get_error_message, (krb5_context, krb5_error_code)) \
    F(void, krb5_free_error_message, (krb5_context, const char *)) \
    F(void, krb5_clear_error_message, (krb5_context))

/* What one of the two has, or not every one exports. */
#define GSSGO_KRB5_OPTIONAL(F) \
    F(krb5_error_code, krb5_cc_copy_creds, (krb5_context, krb5_ccache, krb5_ccache)) \
    F(krb5_error_code, krb5_cc_copy_cache, (krb5_context, krb5_ccache, krb5_ccache)) \
    F(krb5_error_code, krb5_enctype_valid, (krb5_context, krb5_enctype)) \
    F(void, krb5_free_keyblock, (krb5_context, GSSGO_KEYBLOCK *))

#ifndef GSSGO_CHECKHEADER /* ci/checkheader needs the types and the table only */

#if defined(__GNUC__)
#define GSSGO_LOCAL __attribute__((visibility("hidden")))
#else
#define GSSGO_LOCAL
#endif

typedef struct gssgo_table {
#define GSSGO_FIELD(ret, name, args) ret(*name) args;
    GSSGO_TABLE(GSSGO_FIELD)
#undef GSSGO_FIELD
} gssgo_table;

/* The functions of the open library. Written once, before any entry point below is called. */
extern GSSGO_LOCAL gssgo_table gssgo_fn;

/*
 * Heimdal 7.8 gives up on a KDC when a signal interrupts its wait for the answer,
 * and a Go process gets signals: one for each child that ends, and those of the
 * runtime. So does GSS.framework (Heimdal-710.0.1, lib/krb5/send_to_kdc.c). Their
 * calls that may ask a KDC run with signals blocked on their thread; other threads
 * take them. What a fault raises stays deliverable.
 */
extern GSSGO_LOCAL int gssgo_deaf;

static inline void gssgo_block(sigset_t *old) {
    sigset_t set;
    if (!gssgo_deaf)
        return;
    sigfillset(&set);
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGBUS);
    sigdelset(&set, SIGFPE);
    sigdelset(&set, SIGILL);
    sigdelset(&set, SIGTRAP);
    sigdelset(&set, SIGABRT);
    sigdelset(&set, SIGSYS);
    pthread_sigmask(SIG_SETMASK, &set, old);
}

static inline void gssgo_unblock(const sigset_t *old) {
    if (gssgo_deaf)
        pthread_sigmask(SIG_SETMASK, old, NULL);
}

/* ---- the loader, shim.c ---- */

typedef struct {
    int ok;      /* bound, and from now on the library of this process */
    char *err;   /* else: why not; free() it */
    char *path;  /* file that gss_wrap really is in; free() it */
    void *base;  /* where that file is mapped */
} gssgo_opened;

/* Opens file and binds the table. noload: only if the process has it already. */
GSSGO_LOCAL gssgo_opened gssgo_open(const char *file, int noload);
/* The file that holds addr, or NULL; free() it. */
GSSGO_LOCAL char *gssgo_file_of(const void *addr);
/* gss_wrap as the process' global scope has it, or NULL. */
GSSGO_LOCAL void *gssgo_global(void);
/* A symbol of the open library, or NULL. */
GSSGO_LOCAL void *gssgo_symbol(const char *name);
/* Is there an entry for name in the table, and is it bound? 1 bound, 0 not bound, -1 no such entry. */
GSSGO_LOCAL int gssgo_bound(const char *name);
/* The files of the process that define a GSS-API of their own, a line each; free() it. NULL: cannot be told on this system. */
GSSGO_LOCAL char *gssgo_libraries(void);
/* The build-id of the object that addr is in; its length, or 0. */
GSSGO_LOCAL size_t gssgo_build_id(const void *addr, unsigned char *id, size_t cap);
/* The file that soname is loaded from already, or NULL; free() it. */
GSSGO_LOCAL char *gssgo_loaded_as(const char *soname);
/* Is this process set-uid or otherwise not to trust its environment? */
GSSGO_LOCAL int gssgo_secure(void);
/* NULL, or why no library can be opened in this process. */
GSSGO_LOCAL const char *gssgo_unfit(void);
/* What a library is given to log with: a line for each message, to the file of gssgo_log_to, whole or not at all. */
GSSGO_LOCAL void gssgo_log(void *unused, int level, const char *format, va_list args);
/* Makes gssgo_log write to a copy of fd, in place of the one before; -1 is nowhere. 0, or errno. */
GSSGO_LOCAL int gssgo_log_to(int fd);
/* Overwrites memory in a way that compilers keep. */
GSSGO_LOCAL void gssgo_wipe(void *p, size_t n);
/* A gss_OID in memory that is never freed: GNU gss 1.0.4 keeps the pointer that gss_import_name gets. NULL: no memory. */
GSSGO_LOCAL void *gssgo_oid_intern(const unsigned char *p, size_t n);

/* ---- results ---- */

typedef struct { OM_uint32 major, minor; } gssgo_status;
typedef struct { OM_uint32 major, minor; void *handle; } gssgo_handle;
typedef struct { OM_uint32 major, minor; void *buf; size_t len; const void *oid; size_t oidlen; } gssgo_buf;
typedef struct { OM_uint32 major, minor; OM_uint32 value; } gssgo_u32;
typedef struct { const void *p; size_t n; } gssgo_bytes;

/* A message: in dst when buf is NULL, else in the library's buf, to be released. */
typedef struct { OM_uint32 major, minor; OM_uint32 qop; int conf; void *buf; size_t len; } gssgo_msg;

typedef struct {
    OM_uint32 major, minor;
    void *ctx;
    void *buf;
    size_t len;
    void *source;
    void *delegated;
    const void *mech;
    size_t mechlen;
    OM_uint32 flags, lifetime;
} gssgo_step;

typedef struct {
    OM_uint32 major, minor;
    void *source, *target;
    const void *mech;
    size_t mechlen;
    OM_uint32 flags, lifetime;
    int local, open;
} gssgo_ctxinfo;

typedef struct {
    OM_uint32 major, minor;
    void *cred;  /* acquire and add */
    void *name;  /* inquire */
    void *mechs; /* gss_OID_set, to be released */
    OM_uint32 lifetime, acceptor_lifetime;
    int usage;
} gssgo_cred;

/* ---- entry points ---- */

/* Some libraries look at a NULL value before the length. */
static inline gss_buffer_desc gssgo_in(const unsigned char *p, size_t n) {
    gss_buffer_desc b;
    b.length = n;
    b.value = (void *)(n ? (const char *)p : "");
    return b;
}

static inline void gssgo_oid_out(gss_OID oid, const void **p, size_t *n) {
    *p = oid ? oid->elements : NULL;
    *n = oid ? oid->length : 0;
}

/*
 * Is the library MIT's? Its gss_release_buffer (1.20, mechglue/g_rel_buffer.c) does not free a buffer of no
 * length, which gss_unwrap makes of an empty message: a byte is claimed for it.
 */
extern GSSGO_LOCAL int gssgo_mit;

static inline void gssgo_give_back(OM_uint32 *minor, OM_uint32 *major, gss_buffer_desc *b) {
    if (gssgo_mit && b->value && !b->length)
        b->length = 1;
    *major = gssgo_fn.gss_release_buffer(minor, b);
}

/* Moves a message to where the caller has room for it; a second crossing is needed only if he has not. */
static inline void gssgo_deliver(gssgo_msg *r, gss_buffer_desc *out, unsigned char *dst, size_t cap) {
    if (!out->value)
        out->length = 0; /* a length that was left by a failure */
    r->len = out->length;
    if (out->length > cap) {
        r->buf = out->value;
        return;
    }
    if (out->length)
        memcpy(dst, out->value, out->length);
    if (out->value) {
        OM_uint32 minor, major;
        gssgo_give_back(&minor, &major, out);
    }
}

static inline gssgo_status gssgo_release_buffer(void *p, size_t n, int wipe) {
    gssgo_status r = {0, 0};
    gss_buffer_desc b;
    b.length = n;
    b.value = p;
    if (wipe && p)
        gssgo_wipe(p, n);
    gssgo_give_back(&r.minor, &r.major, &b);
    return r;
}

/* One message of a status code; *context is where the next begins, 0 when there is none. */
static inline gssgo_buf gssgo_display_status(OM_uint32 code, int type, void *mech, OM_uint32 *context) {
    gssgo_buf r = {0, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    OM_uint32 c = *context;
    r.major = gssgo_fn.gss_display_status(&r.minor, code, type, (gss_OID)mech, &c, &out);
    *context = c;
    r.buf = out.value;
    r.len = out.length;
    return r;
}

static inline gssgo_handle gssgo_create_empty_oid_set(void) {
    gssgo_handle r = {0, 0, NULL};
    gss_OID_set set = NULL;
    r.major = gssgo_fn.gss_create_empty_oid_set(&r.minor, &set);
    r.handle = set;
    return r;
}

static inline gssgo_handle gssgo_add_oid_set_member(void *oid, void *oidset) {
    gssgo_handle r = {0, 0, NULL};
    gss_OID_set set = (gss_OID_set)oidset;
    r.major = gssgo_fn.gss_add_oid_set_member(&r.minor, (gss_OID)oid, &set);
    r.handle = set;
    return r;
}

static inline gssgo_u32 gssgo_test_oid_set_member(void *oid, void *oidset) {
    gssgo_u32 r = {0, 0, 0};
    int present = 0;
    r.major = gssgo_fn.gss_test_oid_set_member(&r.minor, (gss_OID)oid, (gss_OID_set)oidset, &present);
    r.value = present != 0;
    return r;
}

static inline gssgo_status gssgo_release_oid_set(void *oidset) {
    gssgo_status r = {0, 0};
    gss_OID_set set = (gss_OID_set)oidset;
    if (set)
        r.major = gssgo_fn.gss_release_oid_set(&r.minor, &set);
    return r;
}

static inline size_t gssgo_oid_set_count(const void *oidset) {
    return oidset ? ((const gss_OID_set_desc *)oidset)->count : 0;
}

static inline gssgo_bytes gssgo_oid_set_at(const void *oidset, size_t i) {
    gssgo_bytes r;
    gssgo_oid_out(&((const gss_OID_set_desc *)oidset)->elements[i], &r.p, &r.n);
    return r;
}

static inline gssgo_handle gssgo_indicate_mechs(void) {
    gssgo_handle r = {0, 0, NULL};
    gss_OID_set set = NULL;
    r.major = gssgo_fn.gss_indicate_mechs(&r.minor, &set);
    r.handle = set;
    return r;
}

static inline gssgo_handle gssgo_inquire_names_for_mech(void *mech) {
    gssgo_handle r = {0, 0, NULL};
    gss_OID_set set = NULL;
    r.major = gssgo_fn.gss_inquire_names_for_mech(&r.minor, (gss_OID)mech, &set);
    r.handle = set;
    return r;
}

static inline gssgo_handle gssgo_inquire_mechs_for_name(void *name) {
    gssgo_handle r = {0, 0, NULL};
    gss_OID_set set = NULL;
    r.major = gssgo_fn.gss_inquire_mechs_for_name(&r.minor, (gss_name_t)name, &set);
    r.handle = set;
    return r;
}

static inline gssgo_handle gssgo_import_name(const unsigned char *p, size_t n, void *type) {
    gssgo_handle r = {0, 0, NULL};
    gss_buffer_desc in = gssgo_in(p, n);
    gss_name_t out = NULL;
    r.major = gssgo_fn.gss_import_name(&r.minor, &in, (gss_OID)type, &out);
    r.handle = out;
    return r;
}

static inline gssgo_buf gssgo_display_name(void *name) {
    gssgo_buf r = {0, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    gss_OID type = NULL;
    r.major = gssgo_fn.gss_display_name(&r.minor, (gss_name_t)name, &out, &type);
    r.buf = out.value;
    r.len = out.length;
    /* gss-ntlmssp 1.2.0 counts the NUL; no name of MIT's Kerberos has one. */
    if (gssgo_mit && r.len && !((const char *)r.buf)[r.len - 1])
        r.len--;
    gssgo_oid_out(type, &r.oid, &r.oidlen);
    return r;
}

static inline gssgo_u32 gssgo_compare_name(void *a, void *b) {
    gssgo_u32 r = {0, 0, 0};
    int equal = 0;
    r.major = gssgo_fn.gss_compare_name(&r.minor, (gss_name_t)a, (gss_name_t)b, &equal);
    r.value = equal != 0;
    return r;
}

static inline gssgo_handle gssgo_duplicate_name(void *name) {
    gssgo_handle r = {0, 0, NULL};
    gss_name_t out = NULL;
    r.major = gssgo_fn.gss_duplicate_name(&r.minor, (gss_name_t)name, &out);
    r.handle = out;
    return r;
}

static inline gssgo_handle gssgo_canonicalize_name(void *name, void *mech) {
    gssgo_handle r = {0, 0, NULL};
    gss_name_t out = NULL;
    r.major = gssgo_fn.gss_canonicalize_name(&r.minor, (gss_name_t)name, (gss_OID)mech, &out);
    r.handle = out;
    return r;
}

static inline gssgo_buf gssgo_export_name(void *name) {
    gssgo_buf r = {0, 0, NULL, 0, NULL, 0};
    gss_buffer_desc out = {0, NULL};
    r.major = gssgo_fn.gss_export_name(&r.minor, (gss_name_t)name, &out);
    r.buf = out.value;
    r.len = out.length;
    return r;
}

static inline gssgo_status gssgo_release_name(void *name) {
    gssgo_status r = {0, 0};
    gss_name_t n = (gss_name_t)name;
    if (n)
        r.major = gssgo_fn.gss_release_name(&r.minor, &n);
    return r;
}

static inline gssgo_cred gssgo_acquire_cred(void *name, OM_uint32 lifetime, void *mechs, int usage) {
    sigset_t signals;
    gssgo_cred r = {0, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_acquire_cred(&r.minor, (gss_name_t)name, lifetime, (gss_OID_set)mechs, usage, &cred, &actual, &r.lifetime);
    gssgo_unblock(&signals);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

/* Heimdal 7.8 writes to output_cred_handle whether it is NULL or not: it never is. */
static inline gssgo_cred gssgo_add_cred(void *in, void *name, void *mech, int usage, OM_uint32 initiator_lifetime, OM_uint32 acceptor_lifetime) {
    sigset_t signals;
    gssgo_cred r = {0, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_cred_id_t cred = NULL;
    gss_OID_set actual = NULL;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_add_cred(&r.minor, (gss_cred_id_t)in, (gss_name_t)name, (gss_OID)mech, usage, initiator_lifetime, acceptor_lifetime, &cred, &actual, &r.lifetime, &r.acceptor_lifetime);
    gssgo_unblock(&signals);
    r.cred = cred;
    r.mechs = actual;
    return r;
}

static inline gssgo_cred gssgo_inquire_cred(void *cred, int want_name) {
    sigset_t signals;
    gssgo_cred r = {0, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_name_t name = NULL;
    gss_OID_set mechs = NULL;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_inquire_cred(&r.minor, (gss_cred_id_t)cred, want_name ? &name : NULL, &r.lifetime, &r.usage, &mechs);
    gssgo_unblock(&signals);
    r.name = name;
    r.mechs = mechs;
    return r;
}

static inline gssgo_cred gssgo_inquire_cred_by_mech(void *cred, void *mech, int want_name) {
    sigset_t signals;
    gssgo_cred r = {0, 0, NULL, NULL, NULL, 0, 0, 0};
    gss_name_t name = NULL;
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_inquire_cred_by_mech(&r.minor, (gss_cred_id_t)cred, (gss_OID)mech, want_name ? &name : NULL, &r.lifetime,
                                                  &r.acceptor_lifetime, &r.usage);
    gssgo_unblock(&signals);
    r.name = name;
    return r;
}

static inline gssgo_status gssgo_release_cred(void *cred) {
    gssgo_status r = {0, 0};
    gss_cred_id_t c = (gss_cred_id_t)cred;
    if (c)
        r.major = gssgo_fn.gss_release_cred(&r.minor, &c);
    return r;
}

/* Channel bindings come as one block: initiator address, acceptor address, application data. */
static inline gss_channel_bindings_t gssgo_bindings(struct gss_channel_bindings_struct *cb, int have, OM_uint32 itype, OM_uint32 atype,
                                                    const unsigned char *block, size_t ilen, size_t alen, size_t dlen) {
    if (!have)
        return NULL;
    cb->initiator_addrtype = itype;
    cb->initiator_address = gssgo_in(block, ilen);
    cb->acceptor_addrtype = atype;
    cb->acceptor_address = gssgo_in(block + ilen, alen);
    cb->application_data = gssgo_in(block + ilen + alen, dlen);
    return cb;
}

/* first: pass GSS_C_NO_BUFFER, not an empty buffer: MIT's IAKERB refuses the latter. */
static inline gssgo_step gssgo_init_sec_context(void *ctx, void *cred, void *target, void *mech, OM_uint32 flags, OM_uint32 lifetime,
                                                int havecb, OM_uint32 itype, OM_uint32 atype, const unsigned char *cbblock, size_t ilen, size_t alen, size_t dlen,
                                                int first, const unsigned char *tok, size_t toklen) {
    sigset_t signals;
    gssgo_step r;
    struct gss_channel_bindings_struct cb;
    gss_buffer_desc in = gssgo_in(tok, toklen), out = {0, NULL};
    gss_ctx_id_t c = (gss_ctx_id_t)ctx;
    gss_OID actual = NULL;
    memset(&r, 0, sizeof r);
    gssgo_block(&signals);
    r.major = gssgo_fn.gss_init_sec_context(&r.minor, (gss_cred_id_t)cred, &c, (gss_name_t)target, (gss_OID)mech, flags, lifetime,
                                            gssgo_bindings(&cb, havecb, itype, atype, cbblock, ilen, alen, dlen),
                                            first ? NULL : &in, &actual, &out, &r.flags, &r.lifetime);
    gssgo_unblock(&signals);
    r.ctx = c;
    r.buf = out.value;
    r.len = out.length;
    gssgo_oid_out(actual, &r.mech, &r.mechlen);
    return r;
}

static inline gssgo_step gssgo_accept_sec_context(void *ctx, void *cred,
                                                  int havecb, OM_uint32 itype, OM_uint32 atype, const unsigned char *cbblock, size_t ilen, size_t alen, size_t dlen,
                                                  const unsigned char *tok, size_t toklen) {
    gssgo_step r;
    struct gss_channel_bindings_struct cb;
    gss_buffer_desc in = gssgo_in(tok, toklen), out = {0, NULL};
    gss_ctx_id_t c = (gss_ctx_id_t)ctx;
    gss_name_t source = NULL;
    gss_cred_id_t delegated = NULL;
    gss_OID actual = NULL;
    memset(&r, 0, sizeof r);
    r.major = gssgo_fn.gss_accept_sec_context(&r.minor, &c, (gss_cred_id_t)cred, &in,
                                              gssgo_bindings(&cb, havecb, itype, atype, cbblock, ilen, alen, dlen),
                                              &source, &actual, &out, &r.flags, &r.lifetime, &delegated);
    r.ctx = c;
    r.buf = out.value;
    r.len = out.length;
    r.source = source;
    r.delegated = delegated;
    gssgo_oid_out(actual, &r.mech, &r.mechlen);
    return r;
}

static inline gssgo_status gssgo_process_context_token(void *ctx, const unsigned char *tok, size_t toklen) {
    gssgo_status r = {0, 0};
    gss_buffer_desc in = gssgo_in(tok, toklen);
    r.major = gssgo_fn.gss_process_context_token(&r.minor, (gss_ctx_id_t)ctx, &in);
    return r;
}

/* RFC 2744, 5.9: no output token is asked for. */
static inline gssgo_status gssgo_delete_sec_context(void *ctx) {
    gssgo_status r = {0, 0};
    gss_ctx_id_t c = (gss_ctx_id_t)ctx;
    if (c)
        r.major = gssgo_fn.gss_delete_sec_context(&r.minor, &c, NULL);
    return r;
}

static inline gssgo_u32 gssgo_context_time(void *ctx) {
    gssgo_u32 r = {0, 0, 0};
    r.major = gssgo_fn.gss_context_time(&r.minor, (gss_ctx_id_t)ctx, &r.value);
    return r;
}

/* To tell the name of an acceptor that has none crashes gss-ntlmssp 1.2.0, MIT's plugin for NTLM. */
static inline int gssgo_has_no_target(void *ctx) {
    static const unsigned char ntlm[] = {0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 0x0a};
    OM_uint32 minor;
    gss_OID mech = NULL;
    int local = 1;
    if (!gssgo_mit)
        return 0;
    gssgo_fn.gss_inquire_context(&minor, (gss_ctx_id_t)ctx, NULL, NULL, NULL, &mech, NULL, &local, NULL);
    return mech && !local && mech->length == sizeof ntlm && !memcmp(mech->elements, ntlm, sizeof ntlm);
}

static inline gssgo_ctxinfo gssgo_inquire_context(void *ctx) {
    gssgo_ctxinfo r;
    gss_name_t source = NULL, target = NULL;
    gss_OID mech = NULL;
    memset(&r, 0, sizeof r);
    r.major = gssgo_fn.gss_inquire_context(&r.minor, (gss_ctx_id_t)ctx, &source, gssgo_has_no_target(ctx) ? NULL : &target,
                                           &r.lifetime, &mech, &r.flags, &r.local, &r.open);
    r.source = source;
    r.target = target;
    gssgo_oid_out(mech, &r.mech, &r.mechlen);
    return r;
}

static inline gssgo_u32 gssgo_wrap_size_limit(void *ctx, int conf, OM_uint32 qop, OM_uint32 size) {
    gssgo_u32 r = {0, 0, 0};
    r.major = gssgo_fn.gss_wrap_size_limit(&r.minor, (gss_ctx_id_t)ctx, conf, qop, size, &r.value);
    return r;
}

/* GNU gss 1.0.4 does not write conf_state: what it wraps counts as not encrypted. */
static inline gssgo_msg gssgo_wrap(void *ctx, int conf, OM_uint32 qop, const unsigned char *msg, size_t n, unsigned char *dst, size_t cap) {
    gssgo_msg r = {0, 0, 0, 0, NULL, 0};
    gss_buffer_desc in = gssgo_in(msg, n), out = {0, NULL};
    r.major = gssgo_fn.gss_wrap(&r.minor, (gss_ctx_id_t)ctx, conf, qop, &in, &r.conf, &out);
    gssgo_deliver(&r, &out, dst, cap);
    return r;
}

/* May write into tok: Heimdal 7.8 always does, MIT for rotated and for integrity-only tokens. */
static inline gssgo_msg gssgo_unwrap(void *ctx, unsigned char *tok, size_t n, unsigned char *dst, size_t cap) {
    gssgo_msg r = {0, 0, 0, 0, NULL, 0};
    gss_buffer_desc in = gssgo_in(tok, n), out = {0, NULL};
    r.major = gssgo_fn.gss_unwrap(&r.minor, (gss_ctx_id_t)ctx, &in, &out, &r.conf, &r.qop);
    gssgo_deliver(&r, &out, dst, cap);
    return r;
}

static inline gssgo_msg gssgo_get_mic(void *ctx, OM_uint32 qop, const unsigned char *msg, size_t n, unsigned char *dst, size_t cap) {
    gssgo_msg r = {0, 0, 0, 0, NULL, 0};
    gss_buffer_desc in = gssgo_in(msg, n), out = {0, NULL};
    r.major = gssgo_fn.gss_get_mic(&r.minor, (gss_ctx_id_t)ctx, qop, &in, &out);
    gssgo_deliver(&r, &out, dst, cap);
    return r;
}

static inline gssgo_u32 gssgo_verify_mic(void *ctx, const unsigned char *msg, size_t n, const unsigned char *mic, size_t miclen) {
    gssgo_u32 r = {0, 0, 0};
    gss_buffer_desc in = gssgo_in(msg, n), tok = gssgo_in(mic, miclen);
    r.major = gssgo_fn.gss_verify_mic(&r.minor, (gss_ctx_id_t)ctx, &in, &tok, &r.value);
    return r;
}

/* handle says what is left of the context: NULL means that it is gone, whatever the status is. */
typedef struct { OM_uint32 major, minor; void *handle; void *buf; size_t len; } gssgo_export;

static inline gssgo_export gssgo_export_sec_context(void *ctx) {
    gssgo_export r = {0, 0, NULL, NULL, 0};
    gss_ctx_id_t c = (gss_ctx_id_t)ctx;
    gss_buffer_desc out = {0, NULL};
    r.major = gssgo_fn.gss_export_sec_context(&r.minor, &c, &out);
    r.handle = c;
    r.buf = out.value;
    r.len = out.length;
    return r;
}

static inline gssgo_handle gssgo_import_sec_context(const unsigned char *tok, size_t n) {
    gssgo_handle r = {0, 0, NULL};
    gss_buffer_desc in = gssgo_in(tok, n);
    gss_ctx_id_t c = NULL;
    r.major = gssgo_fn.gss_import_sec_context(&r.minor, &in, &c);
    r.handle = c;
    return r;
}

#include "shim_ext.h"

#endif /* GSSGO_CHECKHEADER */
#endif
