// SPDX-License-Identifier: Apache-2.0
//
// The functions of `wasm_engine.h` for programs that load the library with dlopen. Generated: `make header` writes this
// file and a test fails when it is out of date. C99 and C++17 or later. Link with -ldl before glibc 2.34.
//
//   wasm_library library;
//   const char *fault = wasm_library_open(&library, NULL);
//   if (fault != NULL) ...
//   library.runtime_create(NULL, &runtime, &error);
//
// If WASM_LIBRARY is defined before the first include, as the name of a `wasm_library`, then the names of the functions
// are macros that call it: the same source can be linked with the library or load it. The C++ layer cannot be used
// so because it needs the addresses of the functions.
//
//   #define WASM_LIBRARY library
//   #include <wasm_engine_dlopen.h>
//   static wasm_library library;
//   ...
//   wasm_runtime_create(NULL, &runtime, &error);

#ifndef WASM_ENGINE_DLOPEN_H
#define WASM_ENGINE_DLOPEN_H

#include <dlfcn.h>
#include <string.h>
#include <wasm_engine.h>

#ifdef __cplusplus
extern "C" {
#endif

// The types of the functions.
typedef const char *wasm_library_version_fn(void);
typedef uint32_t wasm_library_version_number_fn(void);
typedef wasm_slice wasm_bytes_view_fn(const wasm_bytes *bytes);
typedef void wasm_bytes_release_fn(wasm_bytes *bytes);
typedef wasm_status wasm_error_status_fn(const wasm_error *error);
typedef const char *wasm_error_message_fn(const wasm_error *error);
typedef wasm_status wasm_error_get_info_fn(const wasm_error *error, wasm_error_info *info);
typedef wasm_status wasm_error_frame_fn(const wasm_error *error, size_t index, wasm_frame *frame);
typedef wasm_status wasm_error_location_fn(const wasm_error *error, size_t index, wasm_location *location);
typedef void wasm_error_release_fn(wasm_error *error);
typedef const char *wasm_status_name_fn(wasm_status status);
typedef wasm_status wasm_runtime_create_fn(const wasm_runtime_config *config,
                                           wasm_runtime **runtime,
                                           wasm_error **error);
typedef int wasm_runtime_compile_helper_main_fn(void);
typedef wasm_status wasm_runtime_validate_fn(const wasm_runtime *runtime, wasm_slice module, wasm_error **error);
typedef wasm_status wasm_runtime_inspect_fn(const wasm_runtime *runtime,
                                            wasm_slice module,
                                            wasm_bytes **json,
                                            wasm_error **error);
typedef void wasm_runtime_release_fn(wasm_runtime *runtime);
typedef wasm_status wasm_thread_prepare_fn(wasm_runtime *runtime, const wasm_thread_config *config, wasm_error **error);
typedef wasm_status wasm_thread_release_fn(wasm_runtime *runtime, wasm_error **error);
typedef wasm_status wasm_thread_unblock_signals_fn(const wasm_runtime *runtime, wasm_error **error);
typedef wasm_status wasm_thread_reclaim_fn(wasm_runtime *runtime, size_t bytes, bool *more, wasm_error **error);
typedef wasm_status wasm_thread_get_pool_fn(const wasm_runtime *runtime, wasm_thread_pool *pool, wasm_error **error);
typedef wasm_status wasm_factory_create_fn(const wasm_runtime *runtime,
                                           const wasm_factory_config *config,
                                           wasm_future **future,
                                           wasm_error **error);
typedef wasm_status wasm_factory_validate_fn(const wasm_runtime *runtime,
                                             const wasm_factory_config *config,
                                             wasm_error **error);
typedef wasm_status wasm_factory_get_info_fn(const wasm_factory *factory, wasm_factory_info *info, wasm_error **error);
typedef wasm_factory *wasm_factory_clone_fn(const wasm_factory *factory);
typedef void wasm_factory_release_fn(wasm_factory *factory);
typedef wasm_status wasm_future_poll_fn(wasm_future *future,
                                        const wasm_waker *waker,
                                        wasm_poll *state,
                                        wasm_error **error);
typedef wasm_status wasm_future_take_factory_fn(wasm_future *future, wasm_factory **factory, wasm_error **error);
typedef wasm_status wasm_future_take_artifact_fn(wasm_future *future, wasm_bytes **artifact, wasm_error **error);
typedef wasm_status wasm_future_release_fn(wasm_future *future, wasm_error **error);
typedef wasm_status wasm_engine_create_fn(const wasm_factory *factory,
                                          const wasm_engine_config *config,
                                          wasm_engine **engine,
                                          wasm_error **error);
typedef wasm_status wasm_engine_replace_fn(wasm_engine *engine,
                                           const wasm_factory *factory,
                                           wasm_future **future,
                                           wasm_error **error);
typedef wasm_status wasm_engine_start_fn(wasm_engine *engine, wasm_future **future, wasm_error **error);
typedef wasm_status wasm_engine_transform_fn(wasm_engine *engine,
                                             const wasm_transform_args *args,
                                             wasm_future **future,
                                             wasm_error **error);
typedef wasm_status wasm_engine_transform_and_poll_fn(wasm_engine *engine,
                                                      const wasm_transform_args *args,
                                                      const wasm_waker *waker,
                                                      wasm_poll *state,
                                                      wasm_future **future,
                                                      wasm_error **error);
typedef wasm_status wasm_engine_stop_fn(wasm_engine *engine, wasm_future **future, wasm_error **error);
typedef wasm_status wasm_engine_set_user_data_fn(wasm_engine *engine, void *user_data, wasm_error **error);
typedef wasm_status wasm_engine_get_state_fn(const wasm_engine *engine, wasm_engine_state *state, wasm_error **error);
typedef wasm_status wasm_engine_get_memory_size_fn(const wasm_engine *engine, uint64_t *bytes, wasm_error **error);
typedef wasm_status wasm_engine_release_fn(wasm_engine *engine, wasm_error **error);
typedef wasm_status wasm_engine_transform_many_fn(wasm_engine *engine,
                                                  const wasm_transform_many_args *args,
                                                  wasm_future **future,
                                                  wasm_error **error);
typedef wasm_status wasm_engine_transform_many_and_poll_fn(wasm_engine *engine,
                                                           const wasm_transform_many_args *args,
                                                           const wasm_waker *waker,
                                                           wasm_poll *state,
                                                           wasm_future **future,
                                                           wasm_error **error);
typedef wasm_status wasm_call_output_batches_fn(const wasm_call *call,
                                                const wasm_output_batch **batches,
                                                size_t *count,
                                                wasm_error **error);
typedef wasm_status wasm_engine_transform_records_fn(wasm_engine *engine,
                                                     const wasm_transform_records_args *args,
                                                     wasm_future **future,
                                                     wasm_error **error);
typedef wasm_status wasm_engine_transform_records_and_poll_fn(wasm_engine *engine,
                                                              const wasm_transform_records_args *args,
                                                              const wasm_waker *waker,
                                                              wasm_poll *state,
                                                              wasm_future **future,
                                                              wasm_error **error);
typedef wasm_status wasm_batch_read_header_fn(wasm_slice bytes, wasm_batch_header *header, wasm_error **error);
typedef wasm_status wasm_payload_read_fn(wasm_slice bytes,
                                         wasm_payload *payload,
                                         wasm_header *headers,
                                         size_t header_capacity,
                                         wasm_error **error);
typedef wasm_status wasm_batch_builder_create_fn(const wasm_batch_config *config,
                                                 wasm_batch_builder **builder,
                                                 wasm_error **error);
typedef wasm_status wasm_batch_builder_reset_fn(wasm_batch_builder *builder,
                                                const wasm_batch_config *config,
                                                wasm_error **error);
typedef wasm_status wasm_batch_builder_add_fn(wasm_batch_builder *builder,
                                              int64_t offset,
                                              int64_t timestamp,
                                              const wasm_payload *payload,
                                              wasm_error **error);
typedef wasm_status wasm_batch_builder_add_encoded_fn(wasm_batch_builder *builder,
                                                      int64_t offset,
                                                      int64_t timestamp,
                                                      wasm_slice payload,
                                                      wasm_error **error);
typedef wasm_status wasm_batch_builder_size_fn(const wasm_batch_builder *builder,
                                               uint64_t *bytes,
                                               uint32_t *record_count,
                                               wasm_error **error);
typedef wasm_status wasm_batch_builder_finish_fn(wasm_batch_builder *builder, wasm_slice *batch, wasm_error **error);
typedef void wasm_batch_builder_release_fn(wasm_batch_builder *builder);
typedef wasm_status wasm_future_spawn_fn(wasm_future *future,
                                         const wasm_executor *executor,
                                         const wasm_completion *completion,
                                         wasm_error **error);
typedef wasm_status wasm_future_spawn_abortable_fn(wasm_future *future,
                                                   const wasm_executor *executor,
                                                   const wasm_completion *completion,
                                                   wasm_task_handle **handle,
                                                   wasm_error **error);
typedef wasm_status wasm_task_run_fn(wasm_task *task, wasm_error **error);
typedef wasm_status wasm_task_release_fn(wasm_task *task, wasm_error **error);
typedef wasm_status wasm_task_handle_abort_fn(wasm_task_handle *handle, wasm_error **error);
typedef void wasm_task_handle_release_fn(wasm_task_handle *handle);
typedef wasm_status wasm_promise_resolve_fn(wasm_promise *promise, wasm_error **error);
typedef wasm_status wasm_promise_resolve_values_fn(wasm_promise *promise,
                                                   const wasm_value *values,
                                                   size_t count,
                                                   wasm_error **error);
typedef wasm_status wasm_promise_resolve_with_fn(wasm_promise *promise,
                                                 const wasm_continuation *continuation,
                                                 wasm_error **error);
typedef wasm_status wasm_promise_reject_fn(wasm_promise *promise, wasm_slice reason, wasm_error **error);
typedef void wasm_promise_release_fn(wasm_promise *promise);
typedef wasm_status wasm_runtime_register_function_fn(const wasm_runtime *runtime,
                                                      const wasm_host_function *function,
                                                      wasm_error **error);
typedef wasm_status wasm_call_promise_fn(wasm_call *call, wasm_promise **promise, wasm_error **error);
typedef wasm_status wasm_call_memory_fn(wasm_call *call,
                                        uint32_t address,
                                        uint32_t size,
                                        uint8_t **bytes,
                                        wasm_error **error);
typedef wasm_status wasm_call_fail_fn(wasm_call *call, wasm_slice reason, wasm_error **error);
typedef wasm_engine *wasm_call_engine_fn(const wasm_call *call);
typedef void *wasm_call_user_data_fn(const wasm_call *call);
typedef wasm_status wasm_engine_set_policy_fn(wasm_engine *engine,
                                              const wasm_engine_policy *policy,
                                              wasm_error **error);
typedef wasm_status wasm_engine_get_stats_fn(const wasm_engine *engine, wasm_engine_stats *stats, wasm_error **error);
typedef wasm_status wasm_engine_get_last_error_fn(const wasm_engine *engine, wasm_error **last, wasm_error **error);
typedef wasm_status wasm_engine_get_progress_fn(const wasm_engine *engine,
                                                wasm_engine_progress *progress,
                                                wasm_error **error);
typedef wasm_status wasm_factory_create_custom_fn(const wasm_runtime *runtime,
                                                  const wasm_factory_config *config,
                                                  const wasm_custom_engine *engine,
                                                  wasm_factory **factory,
                                                  wasm_error **error);
typedef wasm_status wasm_work_next_fn(wasm_work *work, wasm_input_record *record, wasm_error **error);
typedef wasm_status wasm_work_write_fn(wasm_work *work, wasm_slice payload, uint32_t topic, wasm_error **error);
typedef wasm_status wasm_call_fail_record_fn(wasm_call *call, uint32_t index, wasm_slice reason, wasm_error **error);
typedef wasm_status wasm_call_lose_engine_fn(wasm_call *call, uint32_t index, wasm_slice reason, wasm_error **error);
typedef wasm_status wasm_promise_reject_record_fn(wasm_promise *promise,
                                                  uint32_t index,
                                                  wasm_slice reason,
                                                  wasm_error **error);
typedef wasm_status wasm_runtime_set_schema_registry_fn(const wasm_runtime *runtime,
                                                        const wasm_schema_registry *registry,
                                                        wasm_error **error);
typedef wasm_status wasm_schema_registry_in_memory_fn(wasm_schema_registry *registry, wasm_error **error);
typedef wasm_status wasm_call_return_schema_fn(wasm_call *call, const wasm_subject_schema *schema, wasm_error **error);
typedef wasm_status wasm_call_return_schema_id_fn(wasm_call *call, int32_t id, wasm_error **error);
typedef wasm_status wasm_promise_resolve_schema_fn(wasm_promise *promise,
                                                   const wasm_subject_schema *schema,
                                                   wasm_error **error);
typedef wasm_status wasm_runtime_precompile_fn(const wasm_runtime *runtime,
                                               wasm_slice module,
                                               wasm_future **future,
                                               wasm_error **error);
typedef wasm_status wasm_factory_precompile_fn(const wasm_runtime *runtime,
                                               const wasm_factory_config *config,
                                               wasm_future **future,
                                               wasm_error **error);
typedef wasm_status wasm_factory_load_fn(const wasm_runtime *runtime,
                                         const wasm_factory_config *config,
                                         wasm_future **future,
                                         wasm_error **error);
typedef wasm_status wasm_runtime_set_code_cache_fn(const wasm_runtime *runtime,
                                                   const wasm_code_cache_config *config,
                                                   wasm_error **error);
typedef wasm_status wasm_factory_cache_create_fn(const wasm_runtime *runtime,
                                                 const wasm_factory_cache_config *config,
                                                 wasm_factory_cache **cache,
                                                 wasm_error **error);
typedef wasm_status wasm_factory_cache_get_fn(const wasm_factory_cache *cache,
                                              wasm_slice key,
                                              const wasm_factory_config *config,
                                              wasm_future **future,
                                              wasm_error **error);
typedef wasm_status wasm_factory_cache_collect_fn(const wasm_factory_cache *cache,
                                                  uint64_t min_idle_ns,
                                                  uint64_t *collected,
                                                  wasm_error **error);
typedef wasm_status wasm_factory_cache_get_stats_fn(const wasm_factory_cache *cache,
                                                    wasm_factory_cache_stats *stats,
                                                    wasm_error **error);
typedef void wasm_factory_cache_release_fn(wasm_factory_cache *cache);
typedef wasm_status wasm_runtime_get_metrics_fn(const wasm_runtime *runtime,
                                                wasm_runtime_metrics *metrics,
                                                wasm_error **error);
typedef wasm_status wasm_runtime_metrics_text_fn(const wasm_runtime *runtime, wasm_bytes **text, wasm_error **error);
typedef wasm_status wasm_metrics_create_fn(const wasm_runtime *runtime, wasm_metrics **metrics, wasm_error **error);
typedef wasm_status wasm_metrics_update_fn(wasm_metrics *metrics, wasm_error **error);
typedef size_t wasm_metrics_count_fn(const wasm_metrics *metrics);
typedef wasm_status wasm_metrics_get_fn(const wasm_metrics *metrics,
                                        size_t index,
                                        wasm_transform_metrics *transform,
                                        wasm_error **error);
typedef wasm_status wasm_metrics_get_runtime_fn(const wasm_metrics *metrics,
                                                wasm_runtime_metrics *runtime,
                                                wasm_error **error);
typedef wasm_status wasm_engine_set_end_offset_fn(wasm_engine *engine,
                                                  int64_t next_offset,
                                                  int64_t end_offset,
                                                  wasm_error **error);
typedef void wasm_metrics_release_fn(wasm_metrics *metrics);
typedef wasm_status wasm_engine_start_profile_fn(wasm_engine *engine, uint64_t interval_ns, wasm_error **error);
typedef wasm_status wasm_engine_finish_profile_fn(wasm_engine *engine, wasm_bytes **json, wasm_error **error);

// The library: its functions by their names without `wasm_`. Set by `wasm_library_open`.
typedef struct wasm_library {
  // For `dlclose`. NULL if the library could not be loaded.
  void *handle;
  wasm_library_version_fn *library_version;
  wasm_library_version_number_fn *library_version_number;
  wasm_bytes_view_fn *bytes_view;
  wasm_bytes_release_fn *bytes_release;
  wasm_error_status_fn *error_status;
  wasm_error_message_fn *error_message;
  wasm_error_get_info_fn *error_get_info;
  wasm_error_frame_fn *error_frame;
  wasm_error_location_fn *error_location;
  wasm_error_release_fn *error_release;
  wasm_status_name_fn *status_name;
  wasm_runtime_create_fn *runtime_create;
  wasm_runtime_compile_helper_main_fn *runtime_compile_helper_main;
  wasm_runtime_validate_fn *runtime_validate;
  wasm_runtime_inspect_fn *runtime_inspect;
  wasm_runtime_release_fn *runtime_release;
  wasm_thread_prepare_fn *thread_prepare;
  wasm_thread_release_fn *thread_release;
  wasm_thread_unblock_signals_fn *thread_unblock_signals;
  wasm_thread_reclaim_fn *thread_reclaim;
  wasm_thread_get_pool_fn *thread_get_pool;
  wasm_factory_create_fn *factory_create;
  wasm_factory_validate_fn *factory_validate;
  wasm_factory_get_info_fn *factory_get_info;
  wasm_factory_clone_fn *factory_clone;
  wasm_factory_release_fn *factory_release;
  wasm_future_poll_fn *future_poll;
  wasm_future_take_factory_fn *future_take_factory;
  wasm_future_take_artifact_fn *future_take_artifact;
  wasm_future_release_fn *future_release;
  wasm_engine_create_fn *engine_create;
  wasm_engine_replace_fn *engine_replace;
  wasm_engine_start_fn *engine_start;
  wasm_engine_transform_fn *engine_transform;
  wasm_engine_transform_and_poll_fn *engine_transform_and_poll;
  wasm_engine_stop_fn *engine_stop;
  wasm_engine_set_user_data_fn *engine_set_user_data;
  wasm_engine_get_state_fn *engine_get_state;
  wasm_engine_get_memory_size_fn *engine_get_memory_size;
  wasm_engine_release_fn *engine_release;
  wasm_engine_transform_many_fn *engine_transform_many;
  wasm_engine_transform_many_and_poll_fn *engine_transform_many_and_poll;
  wasm_call_output_batches_fn *call_output_batches;
  wasm_engine_transform_records_fn *engine_transform_records;
  wasm_engine_transform_records_and_poll_fn *engine_transform_records_and_poll;
  wasm_batch_read_header_fn *batch_read_header;
  wasm_payload_read_fn *payload_read;
  wasm_batch_builder_create_fn *batch_builder_create;
  wasm_batch_builder_reset_fn *batch_builder_reset;
  wasm_batch_builder_add_fn *batch_builder_add;
  wasm_batch_builder_add_encoded_fn *batch_builder_add_encoded;
  wasm_batch_builder_size_fn *batch_builder_size;
  wasm_batch_builder_finish_fn *batch_builder_finish;
  wasm_batch_builder_release_fn *batch_builder_release;
  wasm_future_spawn_fn *future_spawn;
  wasm_future_spawn_abortable_fn *future_spawn_abortable;
  wasm_task_run_fn *task_run;
  wasm_task_release_fn *task_release;
  wasm_task_handle_abort_fn *task_handle_abort;
  wasm_task_handle_release_fn *task_handle_release;
  wasm_promise_resolve_fn *promise_resolve;
  wasm_promise_resolve_values_fn *promise_resolve_values;
  wasm_promise_resolve_with_fn *promise_resolve_with;
  wasm_promise_reject_fn *promise_reject;
  wasm_promise_release_fn *promise_release;
  wasm_runtime_register_function_fn *runtime_register_function;
  wasm_call_promise_fn *call_promise;
  wasm_call_memory_fn *call_memory;
  wasm_call_fail_fn *call_fail;
  wasm_call_engine_fn *call_engine;
  wasm_call_user_data_fn *call_user_data;
  wasm_engine_set_policy_fn *engine_set_policy;
  wasm_engine_get_stats_fn *engine_get_stats;
  wasm_engine_get_last_error_fn *engine_get_last_error;
  wasm_engine_get_progress_fn *engine_get_progress;
  wasm_factory_create_custom_fn *factory_create_custom;
  wasm_work_next_fn *work_next;
  wasm_work_write_fn *work_write;
  wasm_call_fail_record_fn *call_fail_record;
  wasm_call_lose_engine_fn *call_lose_engine;
  wasm_promise_reject_record_fn *promise_reject_record;
  wasm_runtime_set_schema_registry_fn *runtime_set_schema_registry;
  wasm_schema_registry_in_memory_fn *schema_registry_in_memory;
  wasm_call_return_schema_fn *call_return_schema;
  wasm_call_return_schema_id_fn *call_return_schema_id;
  wasm_promise_resolve_schema_fn *promise_resolve_schema;
  wasm_runtime_precompile_fn *runtime_precompile;
  wasm_factory_precompile_fn *factory_precompile;
  wasm_factory_load_fn *factory_load;
  wasm_runtime_set_code_cache_fn *runtime_set_code_cache;
  wasm_factory_cache_create_fn *factory_cache_create;
  wasm_factory_cache_get_fn *factory_cache_get;
  wasm_factory_cache_collect_fn *factory_cache_collect;
  wasm_factory_cache_get_stats_fn *factory_cache_get_stats;
  wasm_factory_cache_release_fn *factory_cache_release;
  wasm_runtime_get_metrics_fn *runtime_get_metrics;
  wasm_runtime_metrics_text_fn *runtime_metrics_text;
  wasm_metrics_create_fn *metrics_create;
  wasm_metrics_update_fn *metrics_update;
  wasm_metrics_count_fn *metrics_count;
  wasm_metrics_get_fn *metrics_get;
  wasm_metrics_get_runtime_fn *metrics_get_runtime;
  wasm_engine_set_end_offset_fn *engine_set_end_offset;
  wasm_metrics_release_fn *metrics_release;
  wasm_engine_start_profile_fn *engine_start_profile;
  wasm_engine_finish_profile_fn *engine_finish_profile;
} wasm_library;

#ifdef __cplusplus
} // extern "C"
#endif

// Loads the library and finds its functions. `file` is as for `dlopen`. NULL means "libwasm_engine.so.0". Returns NULL
// if all functions were found. Otherwise it returns what is wrong:
//
// - If `library->handle` is NULL, the library could not be loaded and the text is that of `dlerror`.
// - Otherwise the text is the name of the first function that is not there. The library is older than this header.
//   Functions that are not there are NULL and the others can be used. So a host may go on if it calls only what older
//   libraries have.
//
// The library stays loaded after `dlclose`.
static inline const char *wasm_library_open(wasm_library *library, const char *file) {
  static const struct {
    const char *name;
    size_t place;
  } functions[] = {
      {"wasm_library_version", offsetof(wasm_library, library_version)},
      {"wasm_library_version_number", offsetof(wasm_library, library_version_number)},
      {"wasm_bytes_view", offsetof(wasm_library, bytes_view)},
      {"wasm_bytes_release", offsetof(wasm_library, bytes_release)},
      {"wasm_error_status", offsetof(wasm_library, error_status)},
      {"wasm_error_message", offsetof(wasm_library, error_message)},
      {"wasm_error_get_info", offsetof(wasm_library, error_get_info)},
      {"wasm_error_frame", offsetof(wasm_library, error_frame)},
      {"wasm_error_location", offsetof(wasm_library, error_location)},
      {"wasm_error_release", offsetof(wasm_library, error_release)},
      {"wasm_status_name", offsetof(wasm_library, status_name)},
      {"wasm_runtime_create", offsetof(wasm_library, runtime_create)},
      {"wasm_runtime_compile_helper_main", offsetof(wasm_library, runtime_compile_helper_main)},
      {"wasm_runtime_validate", offsetof(wasm_library, runtime_validate)},
      {"wasm_runtime_inspect", offsetof(wasm_library, runtime_inspect)},
      {"wasm_runtime_release", offsetof(wasm_library, runtime_release)},
      {"wasm_thread_prepare", offsetof(wasm_library, thread_prepare)},
      {"wasm_thread_release", offsetof(wasm_library, thread_release)},
      {"wasm_thread_unblock_signals", offsetof(wasm_library, thread_unblock_signals)},
      {"wasm_thread_reclaim", offsetof(wasm_library, thread_reclaim)},
      {"wasm_thread_get_pool", offsetof(wasm_library, thread_get_pool)},
      {"wasm_factory_create", offsetof(wasm_library, factory_create)},
      {"wasm_factory_validate", offsetof(wasm_library, factory_validate)},
      {"wasm_factory_get_info", offsetof(wasm_library, factory_get_info)},
      {"wasm_factory_clone", offsetof(wasm_library, factory_clone)},
      {"wasm_factory_release", offsetof(wasm_library, factory_release)},
      {"wasm_future_poll", offsetof(wasm_library, future_poll)},
      {"wasm_future_take_factory", offsetof(wasm_library, future_take_factory)},
      {"wasm_future_take_artifact", offsetof(wasm_library, future_take_artifact)},
      {"wasm_future_release", offsetof(wasm_library, future_release)},
      {"wasm_engine_create", offsetof(wasm_library, engine_create)},
      {"wasm_engine_replace", offsetof(wasm_library, engine_replace)},
      {"wasm_engine_start", offsetof(wasm_library, engine_start)},
      {"wasm_engine_transform", offsetof(wasm_library, engine_transform)},
      {"wasm_engine_transform_and_poll", offsetof(wasm_library, engine_transform_and_poll)},
      {"wasm_engine_stop", offsetof(wasm_library, engine_stop)},
      {"wasm_engine_set_user_data", offsetof(wasm_library, engine_set_user_data)},
      {"wasm_engine_get_state", offsetof(wasm_library, engine_get_state)},
      {"wasm_engine_get_memory_size", offsetof(wasm_library, engine_get_memory_size)},
      {"wasm_engine_release", offsetof(wasm_library, engine_release)},
      {"wasm_engine_transform_many", offsetof(wasm_library, engine_transform_many)},
      {"wasm_engine_transform_many_and_poll", offsetof(wasm_library, engine_transform_many_and_poll)},
      {"wasm_call_output_batches", offsetof(wasm_library, call_output_batches)},
      {"wasm_engine_transform_records", offsetof(wasm_library, engine_transform_records)},
      {"wasm_engine_transform_records_and_poll", offsetof(wasm_library, engine_transform_records_and_poll)},
      {"wasm_batch_read_header", offsetof(wasm_library, batch_read_header)},
      {"wasm_payload_read", offsetof(wasm_library, payload_read)},
      {"wasm_batch_builder_create", offsetof(wasm_library, batch_builder_create)},
      {"wasm_batch_builder_reset", offsetof(wasm_library, batch_builder_reset)},
      {"wasm_batch_builder_add", offsetof(wasm_library, batch_builder_add)},
      {"wasm_batch_builder_add_encoded", offsetof(wasm_library, batch_builder_add_encoded)},
      {"wasm_batch_builder_size", offsetof(wasm_library, batch_builder_size)},
      {"wasm_batch_builder_finish", offsetof(wasm_library, batch_builder_finish)},
      {"wasm_batch_builder_release", offsetof(wasm_library, batch_builder_release)},
      {"wasm_future_spawn", offsetof(wasm_library, future_spawn)},
      {"wasm_future_spawn_abortable", offsetof(wasm_library, future_spawn_abortable)},
      {"wasm_task_run", offsetof(wasm_library, task_run)},
      {"wasm_task_release", offsetof(wasm_library, task_release)},
      {"wasm_task_handle_abort", offsetof(wasm_library, task_handle_abort)},
      {"wasm_task_handle_release", offsetof(wasm_library, task_handle_release)},
      {"wasm_promise_resolve", offsetof(wasm_library, promise_resolve)},
      {"wasm_promise_resolve_values", offsetof(wasm_library, promise_resolve_values)},
      {"wasm_promise_resolve_with", offsetof(wasm_library, promise_resolve_with)},
      {"wasm_promise_reject", offsetof(wasm_library, promise_reject)},
      {"wasm_promise_release", offsetof(wasm_library, promise_release)},
      {"wasm_runtime_register_function", offsetof(wasm_library, runtime_register_function)},
      {"wasm_call_promise", offsetof(wasm_library, call_promise)},
      {"wasm_call_memory", offsetof(wasm_library, call_memory)},
      {"wasm_call_fail", offsetof(wasm_library, call_fail)},
      {"wasm_call_engine", offsetof(wasm_library, call_engine)},
      {"wasm_call_user_data", offsetof(wasm_library, call_user_data)},
      {"wasm_engine_set_policy", offsetof(wasm_library, engine_set_policy)},
      {"wasm_engine_get_stats", offsetof(wasm_library, engine_get_stats)},
      {"wasm_engine_get_last_error", offsetof(wasm_library, engine_get_last_error)},
      {"wasm_engine_get_progress", offsetof(wasm_library, engine_get_progress)},
      {"wasm_factory_create_custom", offsetof(wasm_library, factory_create_custom)},
      {"wasm_work_next", offsetof(wasm_library, work_next)},
      {"wasm_work_write", offsetof(wasm_library, work_write)},
      {"wasm_call_fail_record", offsetof(wasm_library, call_fail_record)},
      {"wasm_call_lose_engine", offsetof(wasm_library, call_lose_engine)},
      {"wasm_promise_reject_record", offsetof(wasm_library, promise_reject_record)},
      {"wasm_runtime_set_schema_registry", offsetof(wasm_library, runtime_set_schema_registry)},
      {"wasm_schema_registry_in_memory", offsetof(wasm_library, schema_registry_in_memory)},
      {"wasm_call_return_schema", offsetof(wasm_library, call_return_schema)},
      {"wasm_call_return_schema_id", offsetof(wasm_library, call_return_schema_id)},
      {"wasm_promise_resolve_schema", offsetof(wasm_library, promise_resolve_schema)},
      {"wasm_runtime_precompile", offsetof(wasm_library, runtime_precompile)},
      {"wasm_factory_precompile", offsetof(wasm_library, factory_precompile)},
      {"wasm_factory_load", offsetof(wasm_library, factory_load)},
      {"wasm_runtime_set_code_cache", offsetof(wasm_library, runtime_set_code_cache)},
      {"wasm_factory_cache_create", offsetof(wasm_library, factory_cache_create)},
      {"wasm_factory_cache_get", offsetof(wasm_library, factory_cache_get)},
      {"wasm_factory_cache_collect", offsetof(wasm_library, factory_cache_collect)},
      {"wasm_factory_cache_get_stats", offsetof(wasm_library, factory_cache_get_stats)},
      {"wasm_factory_cache_release", offsetof(wasm_library, factory_cache_release)},
      {"wasm_runtime_get_metrics", offsetof(wasm_library, runtime_get_metrics)},
      {"wasm_runtime_metrics_text", offsetof(wasm_library, runtime_metrics_text)},
      {"wasm_metrics_create", offsetof(wasm_library, metrics_create)},
      {"wasm_metrics_update", offsetof(wasm_library, metrics_update)},
      {"wasm_metrics_count", offsetof(wasm_library, metrics_count)},
      {"wasm_metrics_get", offsetof(wasm_library, metrics_get)},
      {"wasm_metrics_get_runtime", offsetof(wasm_library, metrics_get_runtime)},
      {"wasm_engine_set_end_offset", offsetof(wasm_library, engine_set_end_offset)},
      {"wasm_metrics_release", offsetof(wasm_library, metrics_release)},
      {"wasm_engine_start_profile", offsetof(wasm_library, engine_start_profile)},
      {"wasm_engine_finish_profile", offsetof(wasm_library, engine_finish_profile)},
  };
  const char *missing = NULL;
  memset(library, 0, sizeof *library);
  library->handle = dlopen(file != NULL ? file : "libwasm_engine.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library->handle == NULL) return dlerror();
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    // Copied because C has no cast from an object pointer to a function pointer. POSIX promises that they are alike.
    void *const symbol = dlsym(library->handle, functions[i].name);
    memcpy((char *)library + functions[i].place, &symbol, sizeof symbol);
    if (symbol == NULL && missing == NULL) missing = functions[i].name;
  }
  return missing;
}

#ifdef WASM_LIBRARY
#define wasm_library_version (WASM_LIBRARY).library_version
#define wasm_library_version_number (WASM_LIBRARY).library_version_number
#define wasm_bytes_view (WASM_LIBRARY).bytes_view
#define wasm_bytes_release (WASM_LIBRARY).bytes_release
#define wasm_error_status (WASM_LIBRARY).error_status
#define wasm_error_message (WASM_LIBRARY).error_message
#define wasm_error_get_info (WASM_LIBRARY).error_get_info
#define wasm_error_frame (WASM_LIBRARY).error_frame
#define wasm_error_location (WASM_LIBRARY).error_location
#define wasm_error_release (WASM_LIBRARY).error_release
#define wasm_status_name (WASM_LIBRARY).status_name
#define wasm_runtime_create (WASM_LIBRARY).runtime_create
#define wasm_runtime_compile_helper_main (WASM_LIBRARY).runtime_compile_helper_main
#define wasm_runtime_validate (WASM_LIBRARY).runtime_validate
#define wasm_runtime_inspect (WASM_LIBRARY).runtime_inspect
#define wasm_runtime_release (WASM_LIBRARY).runtime_release
#define wasm_thread_prepare (WASM_LIBRARY).thread_prepare
#define wasm_thread_release (WASM_LIBRARY).thread_release
#define wasm_thread_unblock_signals (WASM_LIBRARY).thread_unblock_signals
#define wasm_thread_reclaim (WASM_LIBRARY).thread_reclaim
#define wasm_thread_get_pool (WASM_LIBRARY).thread_get_pool
#define wasm_factory_create (WASM_LIBRARY).factory_create
#define wasm_factory_validate (WASM_LIBRARY).factory_validate
#define wasm_factory_get_info (WASM_LIBRARY).factory_get_info
#define wasm_factory_clone (WASM_LIBRARY).factory_clone
#define wasm_factory_release (WASM_LIBRARY).factory_release
#define wasm_future_poll (WASM_LIBRARY).future_poll
#define wasm_future_take_factory (WASM_LIBRARY).future_take_factory
#define wasm_future_take_artifact (WASM_LIBRARY).future_take_artifact
#define wasm_future_release (WASM_LIBRARY).future_release
#define wasm_engine_create (WASM_LIBRARY).engine_create
#define wasm_engine_replace (WASM_LIBRARY).engine_replace
#define wasm_engine_start (WASM_LIBRARY).engine_start
#define wasm_engine_transform (WASM_LIBRARY).engine_transform
#define wasm_engine_transform_and_poll (WASM_LIBRARY).engine_transform_and_poll
#define wasm_engine_stop (WASM_LIBRARY).engine_stop
#define wasm_engine_set_user_data (WASM_LIBRARY).engine_set_user_data
#define wasm_engine_get_state (WASM_LIBRARY).engine_get_state
#define wasm_engine_get_memory_size (WASM_LIBRARY).engine_get_memory_size
#define wasm_engine_release (WASM_LIBRARY).engine_release
#define wasm_engine_transform_many (WASM_LIBRARY).engine_transform_many
#define wasm_engine_transform_many_and_poll (WASM_LIBRARY).engine_transform_many_and_poll
#define wasm_call_output_batches (WASM_LIBRARY).call_output_batches
#define wasm_engine_transform_records (WASM_LIBRARY).engine_transform_records
#define wasm_engine_transform_records_and_poll (WASM_LIBRARY).engine_transform_records_and_poll
#define wasm_batch_read_header (WASM_LIBRARY).batch_read_header
#define wasm_payload_read (WASM_LIBRARY).payload_read
#define wasm_batch_builder_create (WASM_LIBRARY).batch_builder_create
#define wasm_batch_builder_reset (WASM_LIBRARY).batch_builder_reset
#define wasm_batch_builder_add (WASM_LIBRARY).batch_builder_add
#define wasm_batch_builder_add_encoded (WASM_LIBRARY).batch_builder_add_encoded
#define wasm_batch_builder_size (WASM_LIBRARY).batch_builder_size
#define wasm_batch_builder_finish (WASM_LIBRARY).batch_builder_finish
#define wasm_batch_builder_release (WASM_LIBRARY).batch_builder_release
#define wasm_future_spawn (WASM_LIBRARY).future_spawn
#define wasm_future_spawn_abortable (WASM_LIBRARY).future_spawn_abortable
#define wasm_task_run (WASM_LIBRARY).task_run
#define wasm_task_release (WASM_LIBRARY).task_release
#define wasm_task_handle_abort (WASM_LIBRARY).task_handle_abort
#define wasm_task_handle_release (WASM_LIBRARY).task_handle_release
#define wasm_promise_resolve (WASM_LIBRARY).promise_resolve
#define wasm_promise_resolve_values (WASM_LIBRARY).promise_resolve_values
#define wasm_promise_resolve_with (WASM_LIBRARY).promise_resolve_with
#define wasm_promise_reject (WASM_LIBRARY).promise_reject
#define wasm_promise_release (WASM_LIBRARY).promise_release
#define wasm_runtime_register_function (WASM_LIBRARY).runtime_register_function
#define wasm_call_promise (WASM_LIBRARY).call_promise
#define wasm_call_memory (WASM_LIBRARY).call_memory
#define wasm_call_fail (WASM_LIBRARY).call_fail
#define wasm_call_engine (WASM_LIBRARY).call_engine
#define wasm_call_user_data (WASM_LIBRARY).call_user_data
#define wasm_engine_set_policy (WASM_LIBRARY).engine_set_policy
#define wasm_engine_get_stats (WASM_LIBRARY).engine_get_stats
#define wasm_engine_get_last_error (WASM_LIBRARY).engine_get_last_error
#define wasm_engine_get_progress (WASM_LIBRARY).engine_get_progress
#define wasm_factory_create_custom (WASM_LIBRARY).factory_create_custom
#define wasm_work_next (WASM_LIBRARY).work_next
#define wasm_work_write (WASM_LIBRARY).work_write
#define wasm_call_fail_record (WASM_LIBRARY).call_fail_record
#define wasm_call_lose_engine (WASM_LIBRARY).call_lose_engine
#define wasm_promise_reject_record (WASM_LIBRARY).promise_reject_record
#define wasm_runtime_set_schema_registry (WASM_LIBRARY).runtime_set_schema_registry
#define wasm_schema_registry_in_memory (WASM_LIBRARY).schema_registry_in_memory
#define wasm_call_return_schema (WASM_LIBRARY).call_return_schema
#define wasm_call_return_schema_id (WASM_LIBRARY).call_return_schema_id
#define wasm_promise_resolve_schema (WASM_LIBRARY).promise_resolve_schema
#define wasm_runtime_precompile (WASM_LIBRARY).runtime_precompile
#define wasm_factory_precompile (WASM_LIBRARY).factory_precompile
#define wasm_factory_load (WASM_LIBRARY).factory_load
#define wasm_runtime_set_code_cache (WASM_LIBRARY).runtime_set_code_cache
#define wasm_factory_cache_create (WASM_LIBRARY).factory_cache_create
#define wasm_factory_cache_get (WASM_LIBRARY).factory_cache_get
#define wasm_factory_cache_collect (WASM_LIBRARY).factory_cache_collect
#define wasm_factory_cache_get_stats (WASM_LIBRARY).factory_cache_get_stats
#define wasm_factory_cache_release (WASM_LIBRARY).factory_cache_release
#define wasm_runtime_get_metrics (WASM_LIBRARY).runtime_get_metrics
#define wasm_runtime_metrics_text (WASM_LIBRARY).runtime_metrics_text
#define wasm_metrics_create (WASM_LIBRARY).metrics_create
#define wasm_metrics_update (WASM_LIBRARY).metrics_update
#define wasm_metrics_count (WASM_LIBRARY).metrics_count
#define wasm_metrics_get (WASM_LIBRARY).metrics_get
#define wasm_metrics_get_runtime (WASM_LIBRARY).metrics_get_runtime
#define wasm_engine_set_end_offset (WASM_LIBRARY).engine_set_end_offset
#define wasm_metrics_release (WASM_LIBRARY).metrics_release
#define wasm_engine_start_profile (WASM_LIBRARY).engine_start_profile
#define wasm_engine_finish_profile (WASM_LIBRARY).engine_finish_profile
#endif

#endif // WASM_ENGINE_DLOPEN_H
