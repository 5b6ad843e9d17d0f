"""The simulated Innomaint: an invented utility behind the vendor's endpoint, with scripted faults.

For the demonstration and for the tests; nothing of the pipeline itself depends on it. `estate` what exists,
`payload` how the vendor words it, `world` both together; `faults` what goes wrong; `exchange`, `limit`,
`record`, `control`, `app` the endpoint; `server` the socket; `workbook` the asset master as people write it;
`demo` the demonstration's script.
"""
