// Before anything is painted; a classic script, so that it is waited for. See theme.ts.
document.documentElement.dataset.theme = localStorage.getItem('carnet-theme') ?? 'system';
